# Training against other programs: what scikit-learn and PyTorch export is fine-tuned; what we write runs in ONNX Runtime.
SUITES += check-train
.PHONY: check-train
check-train: $(ONNX_PYTHON) $(BUILD)/kedge ## fine-tune exported models, run ours in ONNX Runtime
	$(ONNX_PYTHON) tests/train/exporters.py $(BUILD)/kedge

# Killed and continued trainings. KILLS=20 for the long form.
MNIST ?= ../shared/data/mnist
KILLS ?= 3
SUITES += check-train-kill
.PHONY: check-train-kill
check-train-kill: $(BUILD)/kedge ## trainings killed at KILLS random points end in the same bytes
	@if [ ! -d $(MNIST) ]; then echo "SKIP: the images $(MNIST) are not there"; echo "0 passed, 0 failed"; exit 0; fi; \
	 tests/train/kill $(BUILD)/kedge $(MNIST) $(BUILD)/train $(KILLS)

# Exported models of every kind fine-tuned on their graphs.
SUITES += check-train-graph
.PHONY: check-train-graph
check-train-graph: $(ONNX_PYTHON) $(BUILD)/kedge ## fine-tune exported models on their graphs, run them in ONNX Runtime
	PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/train/graph.py $(BUILD)/kedge

# Images: one epoch of one seed, and the whole training of three.
SUITES += check-train-mnist
.PHONY: check-train-mnist learn-mnist
check-train-mnist: $(BUILD)/kedge ## a network for images after one epoch on MNIST
	@if [ ! -d $(MNIST) ]; then echo "SKIP: the images $(MNIST) are not there"; echo "0 passed, 0 failed"; exit 0; fi; \
	 tests/train/mnist_test $(BUILD)/kedge $(MNIST) $(BUILD)/train 1 1 0.96
learn-mnist: $(BUILD)/kedge ## a network for images on MNIST, three seeds: at least 98.5 %
	tests/train/mnist_test $(BUILD)/kedge $(MNIST) $(BUILD)/train 3 10 0.985

# Full disk, limited memory, files that cannot be read.
SUITES += check-train-limits
.PHONY: check-train-limits
check-train-limits: $(BUILD)/kedge ## trainings at the limits of disk and memory end in a sentence, their checkpoint whole
	tests/train/limits $(BUILD)/kedge $(BUILD)/train-limits
