# kedge search: as a person meets it; against the trainers alone on real tables; two workers beside one.
.DEFAULT_GOAL := all
FAST_SUITES += check-cli-search
.PHONY: check-cli-search
check-cli-search: $(BUILD)/kedge ## kedge search: text, JSON, errors, killed searches and trials, the same search again
	@BUILD=$(BUILD) tests/cli/search
