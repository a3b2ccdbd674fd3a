# The leader's and replay's tests on both stores: SQLite always, PostgreSQL from a private server.
SUITES += check-leader-postgres
LEADER_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/leader_*_test.c tests/unit/replay_*_test.c))

.PHONY: check-leader-postgres
check-leader-postgres: $(LEADER_TESTS) ## the leader's tests on SQLite and on a private PostgreSQL
	@mkdir -p $(BUILD)/postgres-leader
	@set -e; uri=$$(tests/support/postgres start $(BUILD)/postgres-leader); \
	trap 'tests/support/postgres stop $(BUILD)/postgres-leader' EXIT; \
	KEDGE_TEST_POSTGRES="$$uri" tests/support/run-unit $(LEADER_TESTS)

SUITES += check-loop-csv
.PHONY: check-loop-csv
check-loop-csv: all ## the loop on small CSVs of every kind (embedded parts)
	BUILD=$(BUILD) tests/loop/csv_test
