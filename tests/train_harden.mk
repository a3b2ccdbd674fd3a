# Attacks and adversarial training: short forms in `make check`, the whole ones by `make learn-harden` and `make bench-harden`.
.DEFAULT_GOAL := all
COMPAS ?= ../shared/data/compas.csv
SUITES += check-harden
.PHONY: check-harden learn-harden bench-harden
check-harden: $(ONNX_PYTHON) $(BUILD)/kedge ## attacks keep to constraints on COMPAS; one seed of adversarial training on digits
	@if [ ! -f $(COMPAS) ]; then echo "SKIP: the data $(COMPAS) are not there"; else \
	 PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/harden/compas_test.py $(BUILD)/kedge $(COMPAS) $(BUILD)/harden/compas; fi
	@PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/harden/digits_learn.py $(BUILD)/kedge $(BUILD)/harden/digits 1

learn-harden: $(ONNX_PYTHON) $(BUILD)/kedge ## adversarial training: digits, five seeds, all methods; MNIST (20 minutes)
	PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/harden/digits_learn.py $(BUILD)/kedge $(BUILD)/harden/digits 5
	PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/harden/mnist_learn.py $(BUILD)/kedge $(MNIST) $(BUILD)/harden/mnist pgd 5 2000 0.97 0.90

$(BUILD)/harden-venv/complete: tests/harden/requirements.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install -q -r $<
	@touch $@
bench-harden: $(BUILD)/kedge $(BUILD)/harden-venv/complete ## attacks beside the Adversarial Robustness Toolbox and PyTorch
	PYTHONDONTWRITEBYTECODE=1 $(BUILD)/harden-venv/bin/python tests/harden/peers.py $(BUILD)/kedge $(BUILD)/harden/peers
