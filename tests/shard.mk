# Nanoseconds an event spends in the shard, without and with labels. `all` stays the default goal.
.DEFAULT_GOAL := all
SHARD_BENCH_LIBRARIES := $(foreach m,daemon deploy pipeline registry onnx drift,$(BUILD)/libkedge-$(m).a)
$(BUILD)/tests/bench/shard_bench: $(BUILD)/tests/bench/shard_bench.c.o $(SHARD_BENCH_LIBRARIES)
	$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(SHARD_BENCH_LIBRARIES) -Wl,--end-group $(LDLIBS)

.PHONY: bench-shard
bench-shard: $(BUILD)/tests/bench/shard_bench ## nanoseconds an event spends in the shard
	$<

SUITES += check-shard-postgres
# Crashes of shard, consumer and database on a private PostgreSQL (SQLite is in `make unit`).
SHARD_STORE_TESTS := $(addprefix $(BUILD)/tests/unit/,shard_crash_test consumer_test consumer_guard_test)
.PHONY: check-shard-postgres
check-shard-postgres: $(SHARD_STORE_TESTS) ## shard and consumer on PostgreSQL, with crashes of the server
	@mkdir -p $(BUILD)/postgres-shard
	@set -e; uri=$$(tests/support/postgres start $(BUILD)/postgres-shard); \
	trap 'tests/support/postgres stop $(BUILD)/postgres-shard' EXIT; \
	KEDGE_TEST_POSTGRES="$$uri" KEDGE_TEST_POSTGRES_DIRECTORY="$(BUILD)/postgres-shard" \
	  tests/support/run-unit $(SHARD_STORE_TESTS)
