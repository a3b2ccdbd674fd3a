# kedge search: as a person meets it; against the trainers alone on real tables; two workers beside one.
.DEFAULT_GOAL := all
FAST_SUITES += check-cli-search
.PHONY: check-cli-search
check-cli-search: $(BUILD)/kedge ## kedge search: text, JSON, errors, killed searches and trials, the same search again
	@BUILD=$(BUILD) tests/cli/search

# Elec2 and COMPAS: 24 trials of one seed within the checks (0.01 below is let pass: one seed), three seeds of a minute outside.
SEARCH_DATA ?= ../shared/data
SUITES += check-search
.PHONY: check-search learn-search bench-search
check-search: $(BUILD)/kedge ## a search of 24 trials is as good as the better of network and trees on Elec2 and COMPAS
	@if [ ! -f $(SEARCH_DATA)/elec.csv ] || [ ! -f $(SEARCH_DATA)/compas.csv ]; then echo "SKIP: $(SEARCH_DATA)/elec.csv or compas.csv is not there"; echo "0 passed, 0 failed"; exit 0; fi; \
	 tests/train/search_learn $(BUILD)/kedge $(SEARCH_DATA) $(BUILD)/train/search-learn 1 24 0.01
learn-search: $(BUILD)/kedge ## searches of a minute, three seeds: at least as good as the better of network and trees
	tests/train/search_learn $(BUILD)/kedge $(SEARCH_DATA) $(BUILD)/train/search-learn 3 60s 0
bench-search: $(BUILD)/kedge ## trials of a second with two workers over those with one
	@tests/bench/search $(BUILD)/kedge $(SEARCH_DATA)/elec.csv $(BUILD)/bench-search 3 36
