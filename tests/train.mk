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

# Transformations of columns: the graphs in ONNX Runtime, parameters as NumPy's and scikit-learn's.
SUITES += check-train-prepare
.PHONY: check-train-prepare
check-train-prepare: $(ONNX_PYTHON) $(BUILD)/kedge ## kedge prepare's graphs in ONNX Runtime
	PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/train/prepare.py $(BUILD)/kedge $(BUILD)/train/prepare

# Searched transformations against the standard ones: three seeds of Elec2 and COMPAS.
TABLES ?= ../shared/data
SUITES += check-train-search
.PHONY: check-train-search
check-train-search: $(BUILD)/kedge ## searched transformations are as good as standard ones on Elec2 and COMPAS, better on one
	@if [ ! -f $(TABLES)/elec.csv ] || [ ! -f $(TABLES)/compas.csv ]; then echo "SKIP: $(TABLES)/elec.csv or compas.csv is not there"; echo "0 passed, 0 failed"; exit 0; fi; \
	 tests/train/search_test $(BUILD)/kedge $(TABLES) $(BUILD)/train/search 3
# Networks of two hidden layers beside scikit-learn's.
SUITES += check-train-mlp
.PHONY: check-train-mlp
check-train-mlp: $(ONNX_PYTHON) $(BUILD)/kedge ## mlp:64,64 beside scikit-learn's MLPClassifier on Elec2 and COMPAS, three seeds
	@if [ ! -f $(TABLES)/elec.csv ] || [ ! -f $(TABLES)/compas.csv ]; then echo "SKIP: $(TABLES)/elec.csv or compas.csv is not there"; echo "0 passed, 0 failed"; exit 0; fi; \
	 OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/train/mlp.py $(BUILD)/kedge $(TABLES) $(BUILD)/train/mlp 3

# Fine-tuning without forgetting: MNIST turned by 25 degrees; fewer images inside of the checks.
SUITES += check-train-finetune
.PHONY: check-train-finetune learn-finetune
check-train-finetune: $(ONNX_PYTHON) $(BUILD)/kedge ## turned images fine-tuned with rehearsal, 2,000 of them
	@if [ ! -d $(MNIST) ]; then echo "SKIP: the images $(MNIST) are not there"; echo "0 passed, 0 failed"; exit 0; fi; \
	 PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/train/finetune_test $(BUILD)/kedge $(MNIST) $(BUILD)/finetune 1 6 rows=2000
learn-finetune: $(ONNX_PYTHON) $(BUILD)/kedge ## MNIST turned by 25 degrees, three seeds: the gap closed in a fifth of the row visits
	PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/train/finetune_test $(BUILD)/kedge $(MNIST) $(BUILD)/finetune 3 10 plain=1
# Boosted trees beside XGBoost's own package, in a virtual environment of their own (it wants an older NumPy).
TREES_DATA ?= ../shared/data
TREES_PYTHON := $(BUILD)/trees-venv/bin/python
$(TREES_PYTHON): tests/train/trees_requirements.txt
	python3 -m venv $(BUILD)/trees-venv
	$(BUILD)/trees-venv/bin/pip install -q -r $<
	@touch $@
SUITES += check-train-trees
.PHONY: check-train-trees
check-train-trees: $(TREES_PYTHON) $(BUILD)/kedge ## boosted trees: the same models as XGBoost in Python, the same leaves in ONNX Runtime
	PYTHONDONTWRITEBYTECODE=1 $(TREES_PYTHON) tests/train/trees.py $(BUILD)/kedge $(TREES_DATA)
# Figures against scikit-learn; calibrated models against ONNX Runtime.
SUITES += check-evaluate
.PHONY: check-evaluate
check-evaluate: $(ONNX_PYTHON) $(BUILD)/kedge ## kedge evaluate against scikit-learn, calibrated models against ONNX Runtime
	PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/train/evaluate.py $(BUILD)/kedge

# A signal leaves a checkpoint.
FAST_SUITES += check-train-interrupt
.PHONY: check-train-interrupt
check-train-interrupt: $(BUILD)/kedge ## SIGINT and SIGTERM leave a checkpoint from which the same bytes come
	tests/train/interrupt $(BUILD)/kedge $(BUILD)/train

# Calibration and intervals on real data.
STREAMS ?= ../shared/data
SUITES += check-calibration
.PHONY: check-calibration
check-calibration: $(BUILD)/kedge ## the calibration error of overfitted networks at most half of before; coverage of intervals
	@if [ ! -f $(STREAMS)/compas.csv ] || [ ! -f $(STREAMS)/elec.csv ]; then \
	   echo "SKIP: $(STREAMS)/compas.csv and elec.csv are not there"; echo "0 passed, 0 failed"; exit 0; fi; \
	 tests/train/calibration_test $(BUILD)/kedge $(STREAMS) $(BUILD)/train
# Full disk, limited memory, files that cannot be read.
SUITES += check-train-limits
.PHONY: check-train-limits
check-train-limits: $(BUILD)/kedge ## trainings at the limits of disk and memory end in a sentence, their checkpoint whole
	tests/train/limits $(BUILD)/kedge $(BUILD)/train-limits

FAST_SUITES += check-train-commands
.PHONY: check-train-commands
check-train-commands: $(BUILD)/kedge ## kedge train, evaluate, predict, export: calibration, intervals, arrays, errors
	tests/train/commands $(BUILD)/kedge $(BUILD)/train-commands

# Rows that need not fit into memory.
SUITES += check-train-large
.PHONY: check-train-large
check-train-large: $(BUILD)/kedge ## 600 MB of rows trained on with a fraction of it in memory; the same bytes as in memory
	tests/train/large $(BUILD)/kedge $(BUILD)/train-large

# Several labels a row.
SUITES += check-train-labels
.PHONY: check-train-labels
check-train-labels: $(ONNX_PYTHON) $(BUILD)/kedge ## several labels a row: the graph in ONNX Runtime, figures as scikit-learn's
	PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/train/labels.py $(BUILD)/kedge $(BUILD)/train/labels
