# Nanoseconds an event spends in the shard, without and with labels. `all` stays the default goal.
.DEFAULT_GOAL := all
SHARD_BENCH_LIBRARIES := $(foreach m,daemon deploy pipeline registry onnx drift,$(BUILD)/libkedge-$(m).a)
$(BUILD)/tests/bench/shard_bench: $(BUILD)/tests/bench/shard_bench.c.o $(SHARD_BENCH_LIBRARIES)
	$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(SHARD_BENCH_LIBRARIES) -Wl,--end-group $(LDLIBS)

.PHONY: bench-shard
bench-shard: $(BUILD)/tests/bench/shard_bench ## nanoseconds an event spends in the shard
	$<
