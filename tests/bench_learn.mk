# Training beside PyTorch, which lives in a throw-away virtual environment (5 GB), and beside XGBoost's bare C API.
.DEFAULT_GOAL := all
LEARN_BENCHES := $(addprefix $(BUILD)/tests/bench/,learn_bench tree_bench predict_bench import_bench)
$(LEARN_BENCHES): $(BUILD)/%: $(BUILD)/%.c.o $(BUILD)/libkedge-pipeline.a $(BUILD)/libkedge-registry.a $(BUILD)/libkedge-onnx.a \
                  $(BUILD)/libkedge-drift.a
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

$(BUILD)/torch-venv/complete: tests/fixtures/onnx/requirements.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install -q -r $<
	@touch $@

.PHONY: bench-learn bench-trees bench-models
# The library of ONNX Runtime comes with the matrix of models (models.mk).
bench-learn: $(LEARN_BENCHES) $(BUILD)/torch-venv/complete bench-models ## trees beside XGBoost's C API; an MLP, a CNN and an LSTM beside PyTorch; bench-models
	tests/bench/learn $(BUILD)/tests/bench/learn_bench $(BUILD)/tests/bench/tree_bench $(BUILD)/torch-venv/bin/python
bench-trees: $(LEARN_BENCHES) ## of these the trees alone
	tests/bench/learn $(BUILD)/tests/bench/learn_bench $(BUILD)/tests/bench/tree_bench ""
bench-models: $(LEARN_BENCHES) $(BUILD)/models-venv/complete ## one row beside ONNX Runtime, reading a large model beside protobuf-c
	$(BUILD)/tests/bench/predict_bench $(BUILD)/models-venv/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.* 15
	$(BUILD)/tests/bench/import_bench 15
