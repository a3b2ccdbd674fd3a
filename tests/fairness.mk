# `kedge bias` and `kedge train --reweigh` on people's records, against an independent computation.
SUITES += check-fairness
.PHONY: check-fairness
check-fairness: all ## kedge bias on COMPAS: every figure against a computation of its own
	BUILD=$(BUILD) tests/fairness/compas_test
