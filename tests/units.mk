FAST_SUITES += check-units
.PHONY: check-units
check-units: ## the systemd units: well-formed, exposure within the stated bounds
	tests/units
