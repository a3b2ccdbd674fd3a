# The demonstration, judged: what a newcomer is told must be true.
SUITES += check-demo
.PHONY: check-demo
check-demo: $(BUILD)/kedge $(BUILD)/kedged ## run the demo and check the facts of its summary
	@BUILD=$(BUILD) tests/demo/check

# What `make lint` asks without the compilers, which take minutes.
SUITES += check-source
.PHONY: check-source
check-source: $(BUILD)/kedge ## format, include direction, words, documentation
	@BUILD=$(BUILD) tests/lint format includes words documents scripts
