SUITES += check-jobs-postgres
# The tests of jobs on both stores: SQLite always, PostgreSQL from a private server.
JOB_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/job_*_test.c tests/unit/deploy_rollout_test.c))

.PHONY: check-jobs-postgres
check-jobs-postgres: $(JOB_TESTS) ## the tests of jobs and rollouts on SQLite and on a private PostgreSQL
	@mkdir -p $(BUILD)/postgres-jobs
	@set -e; uri=$$(tests/support/postgres start $(BUILD)/postgres-jobs); \
	trap 'tests/support/postgres stop $(BUILD)/postgres-jobs' EXIT; \
	KEDGE_TEST_POSTGRES="$$uri" KEDGE_TEST_POSTGRES_DIRECTORY="$(BUILD)/postgres-jobs" \
	  tests/support/run-unit $(JOB_TESTS)
