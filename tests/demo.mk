# The demonstration, judged: what a newcomer is told must be true.
SUITES += check-demo
.PHONY: check-demo
check-demo: $(BUILD)/kedge $(BUILD)/kedged ## run the demo and check the facts of its summary
	@BUILD=$(BUILD) tests/demo/check
