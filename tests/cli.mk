FAST_SUITES += check-cli
.PHONY: check-cli
check-cli: $(BUILD)/kedge $(BUILD)/kedged ## the offline commands: text, JSON, HTML, standard input, errors, exit statuses
	@BUILD=$(BUILD) tests/cli/run
