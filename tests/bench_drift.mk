# Speed of accumulation; a number to look at, not a test.
# This file is read before the first target of the Makefile.
.DEFAULT_GOAL := all

.PHONY: bench-accumulate
bench-accumulate: $(BUILD)/tests/bench/accumulate_bench ## nanoseconds per event of bin look-up and accumulation
	$<

$(BUILD)/tests/bench/accumulate_bench: $(BUILD)/tests/bench/accumulate_bench.c.o $(BUILD)/libkedge-drift.a
	$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)
