# ONNX: comparisons with ONNX Runtime, scikit-learn, ONNX's own node tests.
$(ONNX_PYTHON): tests/onnx/requirements.txt
	python3 -m venv $(BUILD)/venv
	$(BUILD)/venv/bin/pip install -q -r $<
	@touch $@

$(BUILD)/tests/onnx/predict_tool: $(BUILD)/tests/onnx/predict_tool.c.o $(BUILD)/libkedge-pipeline.a \
                                  $(BUILD)/libkedge-registry.a $(BUILD)/libkedge-onnx.a $(BUILD)/libkedge-drift.a
	$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

# --- ONNX's own backend tests: cases are written once, from the newest package -----------------------------------------
CONFORMANCE := $(BUILD)/onnx-conformance
$(CONFORMANCE)/cases.tsv: tests/onnx/conformance_cases.py tests/onnx/conformance_requirements.txt
	@rm -rf $(CONFORMANCE) && mkdir -p $(CONFORMANCE)
	python3 -m venv $(CONFORMANCE)/venv
	$(CONFORMANCE)/venv/bin/pip install -q -r tests/onnx/conformance_requirements.txt
	PYTHONDONTWRITEBYTECODE=1 $(CONFORMANCE)/venv/bin/python $< $(CONFORMANCE)
	@rm -rf $(CONFORMANCE)/venv
$(CONFORMANCE)/results.tsv: $(CONFORMANCE)/cases.tsv $(BUILD)/tests/onnx/conformance_tool
	$(BUILD)/tests/onnx/conformance_tool $< 150 reference onednn >$@.new && mv $@.new $@
$(CONFORMANCE)/operators.tsv: $(BUILD)/tests/onnx/operator_tool
	$< >$@
$(BUILD)/tests/onnx/conformance_tool $(BUILD)/tests/onnx/operator_tool: $(BUILD)/tests/onnx/%: \
  $(BUILD)/tests/onnx/%.c.o $(BUILD)/libkedge-pipeline.a $(BUILD)/libkedge-registry.a $(BUILD)/libkedge-onnx.a \
  $(BUILD)/libkedge-drift.a
	$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

SUITES += onnx-conformance
.PHONY: onnx-conformance onnx-operators
onnx-conformance: $(CONFORMANCE)/results.tsv $(CONFORMANCE)/operators.tsv ## ONNX's own backend tests, every backend
	python3 tests/onnx/conformance.py $^
onnx-operators: $(CONFORMANCE)/results.tsv $(CONFORMANCE)/operators.tsv ## write the operator table of onnx/README.md
	python3 tests/onnx/conformance.py $^ --write

.PHONY: check-onnx
check-onnx: $(ONNX_PYTHON) $(BUILD)/tests/onnx/predict_tool ## compare ONNX import, prediction and export with ONNX Runtime
	PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/onnx/compare.py $(BUILD)/tests/onnx/predict_tool

SUITES += check-onnx check-versions
.PHONY: check-versions
check-versions: all $(ONNX_PYTHON) ## versions made by the loop agree with ONNX Runtime
	BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 tests/onnx/versions $(ONNX_PYTHON)
