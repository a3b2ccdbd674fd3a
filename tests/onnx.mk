# ONNX: comparisons with ONNX Runtime, scikit-learn, ONNX's own node tests.
ONNX_PYTHON := $(BUILD)/venv/bin/python
$(ONNX_PYTHON): tests/onnx/requirements.txt
	python3 -m venv $(BUILD)/venv
	$(BUILD)/venv/bin/pip install -q -r $<
	@touch $@

$(BUILD)/tests/onnx/predict_tool: $(BUILD)/tests/onnx/predict_tool.c.o $(BUILD)/libkedge-pipeline.a \
                                  $(BUILD)/libkedge-registry.a $(BUILD)/libkedge-onnx.a $(BUILD)/libkedge-drift.a
	$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

$(BUILD)/tests/onnx/conformance_tool: $(BUILD)/tests/onnx/conformance_tool.c.o $(BUILD)/libkedge-pipeline.a \
                                      $(BUILD)/libkedge-registry.a $(BUILD)/libkedge-onnx.a $(BUILD)/libkedge-drift.a
	$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

.PHONY: check-onnx
check-onnx: $(ONNX_PYTHON) $(BUILD)/tests/onnx/predict_tool ## compare ONNX import, prediction and export with ONNX Runtime
	PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/onnx/compare.py $(BUILD)/tests/onnx/predict_tool

SUITES += check-onnx check-versions
.PHONY: check-versions
check-versions: all $(ONNX_PYTHON) ## versions made by the loop agree with ONNX Runtime
	BUILD=$(BUILD) PYTHONDONTWRITEBYTECODE=1 tests/onnx/versions $(ONNX_PYTHON)
