# Training against other programs: what scikit-learn and PyTorch export is fine-tuned; what we write runs in ONNX Runtime.
SUITES += check-train
.PHONY: check-train
check-train: $(ONNX_PYTHON) $(BUILD)/kedge ## fine-tune exported models, run ours in ONNX Runtime
	$(ONNX_PYTHON) tests/train/exporters.py $(BUILD)/kedge
