# Compression: short form in `make check`, the whole one by `make learn-compress`.
.DEFAULT_GOAL := all
SUITES += check-compress
.PHONY: check-compress learn-compress
check-compress: $(ONNX_PYTHON) $(BUILD)/kedge ## 8 bits, pruning and distillation in ONNX Runtime; one short training on MNIST
	@PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/compress/peers.py $(BUILD)/kedge $(BUILD)/compress
	@if [ ! -d $(MNIST) ]; then echo "SKIP: the images $(MNIST) are not there"; else \
	 PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/compress/mnist_learn.py $(BUILD)/kedge $(MNIST) $(BUILD)/compress/mnist 2 2 4; fi
learn-compress: $(ONNX_PYTHON) $(BUILD)/kedge ## a network for MNIST compressed: 8 bits, 80 % pruned, a tenth of its size (15 minutes)
	PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/compress/mnist_learn.py $(BUILD)/kedge $(MNIST) $(BUILD)/compress/mnist 8 8 15
