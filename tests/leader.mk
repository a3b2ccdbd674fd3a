# The tests of the leader, of replay and of the outbox on both stores: SQLite always, PostgreSQL from a private server.
LEADER_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/leader_*_test.c tests/unit/replay_*_test.c \
                  tests/unit/outbox_*_test.c))

SUITES += check-leader-postgres
.PHONY: check-leader-postgres
check-leader-postgres: $(LEADER_TESTS) ## the tests of leader, replay and outbox on SQLite and on a private PostgreSQL
	@mkdir -p $(BUILD)/postgres-leader
	@set -e; uri=$$(tests/support/postgres start $(BUILD)/postgres-leader); \
	trap 'tests/support/postgres stop $(BUILD)/postgres-leader' EXIT; \
	KEDGE_TEST_POSTGRES="$$uri" KEDGE_TEST_POSTGRES_DIRECTORY="$(BUILD)/postgres-leader" \
	  tests/support/run-unit $(LEADER_TESTS)
