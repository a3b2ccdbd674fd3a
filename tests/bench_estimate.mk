# Speed of label-free estimates and multivariate tests; numbers to look at.
.DEFAULT_GOAL := all

.PHONY: bench-estimate
bench-estimate: $(BUILD)/tests/bench/estimate_bench ## CPU time of label-free estimates and of multivariate tests
	$<

$(BUILD)/tests/bench/estimate_bench: $(BUILD)/tests/bench/estimate_bench.c.o $(BUILD)/libkedge-drift.a
	$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)
