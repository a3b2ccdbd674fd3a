# kedge search: as a person meets it; against the trainers alone on real tables and images; winners in ONNX Runtime; two workers
# beside one.
.DEFAULT_GOAL := all
FAST_SUITES += check-cli-search
.PHONY: check-cli-search
check-cli-search: $(BUILD)/kedge ## kedge search: text, JSON, errors, spaces in files, killed searches and trials, the same search again
	@BUILD=$(BUILD) tests/cli/search

# Elec2 and COMPAS: 24 trials of one seed within the checks (0.005 below is let pass: one seed), three seeds of a minute outside
# (0.001 below: a quarter of the standard error of one AUC).
SEARCH_DATA ?= ../shared/data
SUITES += check-search
.PHONY: check-search learn-search bench-search
check-search: $(BUILD)/kedge ## a search of 24 trials is as good as the better of network and trees on Elec2 and COMPAS
	@if [ ! -f $(SEARCH_DATA)/elec.csv ] || [ ! -f $(SEARCH_DATA)/compas.csv ]; then echo "SKIP: $(SEARCH_DATA)/elec.csv or compas.csv is not there"; echo "0 passed, 0 failed"; exit 0; fi; \
	 tests/train/search_learn $(BUILD)/kedge $(SEARCH_DATA) $(BUILD)/train/search-learn 1 24 0.005
learn-search: $(BUILD)/kedge ## searches of a minute, three seeds: at least as good as the better of network and trees
	tests/train/search_learn $(BUILD)/kedge $(SEARCH_DATA) $(BUILD)/train/search-learn 3 60s 0.001
bench-search: $(BUILD)/kedge ## rounds of boosting a second with two workers over those with one
	@tests/bench/search $(BUILD)/kedge $(SEARCH_DATA)/elec.csv $(BUILD)/bench-search 3 36

# What is found is what ONNX Runtime runs.
SUITES += check-search-winners
.PHONY: check-search-winners
check-search-winners: $(ONNX_PYTHON) $(BUILD)/kedge ## winners of every family and kind of layer say in ONNX Runtime what they say in kedge
	PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/train/search_winners.py $(BUILD)/kedge $(BUILD)/train/search-winners

# Images: four trials of small networks within the checks, a search of five minutes outside.
SEARCH_SMALL := cnn:channels=8,depth=2,growth=2,kernel=3,blocks=1,dense=32,dropout=0|0.1,batch=32|64,norm=batch,learning_rate=0.002..0.01
SUITES += check-search-images
.PHONY: check-search-images learn-search-cnn
check-search-images: $(BUILD)/kedge ## a search of four small networks for images on 1,500 images of MNIST
	@if [ ! -f $(SEARCH_DATA)/mnist/t10k-images-idx3-ubyte.gz ]; then echo "SKIP: $(SEARCH_DATA)/mnist is not there"; echo "0 passed, 0 failed"; exit 0; fi; \
	 PYTHONDONTWRITEBYTECODE=1 tests/train/search_images $(BUILD)/kedge $(SEARCH_DATA)/mnist $(BUILD)/train/search-images 1500 4 "$(SEARCH_SMALL)" 0.88
learn-search-cnn: $(BUILD)/kedge ## a search of five minutes for a network for images on MNIST: at least 98.5 %
	PYTHONDONTWRITEBYTECODE=1 tests/train/search_images $(BUILD)/kedge $(SEARCH_DATA)/mnist $(BUILD)/train/search-cnn 10000 5m "" 0.985
