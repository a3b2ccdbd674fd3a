SUITES += check-registry-postgres
# The registry's tests on both stores: SQLite always, PostgreSQL from a private server.
REGISTRY_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/registry_*_test.c))

.PHONY: check-registry-postgres
check-registry-postgres: $(REGISTRY_TESTS) ## the registry's tests on SQLite and on a private PostgreSQL
	@mkdir -p $(BUILD)/postgres
	@set -e; uri=$$(tests/support/postgres start $(BUILD)/postgres); \
	trap 'tests/support/postgres stop $(BUILD)/postgres' EXIT; \
	KEDGE_TEST_POSTGRES="$$uri" KEDGE_TEST_POSTGRES_DIRECTORY="$(BUILD)/postgres" \
	  tests/support/run-unit $(REGISTRY_TESTS)
