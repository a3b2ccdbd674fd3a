FAST_SUITES += check-cli-prepare
.PHONY: check-cli-prepare
check-cli-prepare: $(BUILD)/kedge ## kedge prepare: text, JSON, standard input, errors, the same bytes again
	@BUILD=$(BUILD) tests/cli/prepare
