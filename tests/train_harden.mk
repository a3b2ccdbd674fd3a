# Attacks and adversarial training: short forms in `make check`, the whole ones by `make learn-harden` and `make bench-harden`.
.DEFAULT_GOAL := all
COMPAS ?= ../shared/data/compas.csv
SUITES += check-harden
.PHONY: check-harden learn-harden bench-harden
check-harden: $(ONNX_PYTHON) $(BUILD)/kedge ## attacks keep to constraints on COMPAS; one seed of adversarial training on digits
	@if [ ! -f $(COMPAS) ]; then echo "SKIP: the data $(COMPAS) are not there"; else \
	 PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/harden/compas_test.py $(BUILD)/kedge $(COMPAS) $(BUILD)/harden/compas; fi
	@PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/harden/digits_learn.py $(BUILD)/kedge $(BUILD)/harden/digits 1

# Images and sequences: rows of more than two dimensions, by both exporters of PyTorch.
SUITES += check-harden-images
.PHONY: check-harden-images
check-harden-images: $(ONNX_PYTHON) $(BUILD)/kedge ## images and sequences attacked, hardened and smoothed; every point judged by ONNX Runtime
	@PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/harden/images_test.py $(BUILD)/kedge tests/models/fixtures $(BUILD)/harden/images

learn-harden: $(ONNX_PYTHON) $(BUILD)/kedge ## adversarial training: digits, five seeds, all methods; MNIST (20 minutes)
	PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/harden/digits_learn.py $(BUILD)/kedge $(BUILD)/harden/digits 5
	PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/harden/mnist_learn.py $(BUILD)/kedge $(MNIST) $(BUILD)/harden/mnist pgd 5 2000 0.97 0.90

$(BUILD)/harden-venv/complete: tests/harden/requirements.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install -q -r $<
	@touch $@
bench-harden: $(BUILD)/kedge $(BUILD)/harden-venv/complete ## attacks beside the Adversarial Robustness Toolbox and PyTorch
	PYTHONDONTWRITEBYTECODE=1 $(BUILD)/harden-venv/bin/python tests/harden/peers.py $(BUILD)/kedge $(BUILD)/harden/peers
