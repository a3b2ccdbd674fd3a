# Two-sample tests and the report beside scipy and evidently: CPU time in the same run, peers in a throw-away virtual
# environment. ROWS=100000 COLUMNS=20. Others add their parts to BENCH_DRIFT_PARTS.
.DEFAULT_GOAL := all
BENCH_DRIFT_PARTS += bench-two-sample

$(BUILD)/tests/bench/two_sample_bench: $(BUILD)/tests/bench/two_sample_bench.c.o $(LIBRARIES)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(LINK_LIBRARIES) -Wl,--end-group $(LDLIBS)

$(BUILD)/two-sample-venv/complete: tests/bench/requirements_two_sample.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install -q -r $<
	@touch $@

.PHONY: bench-drift bench-two-sample
bench-two-sample: $(BUILD)/tests/bench/two_sample_bench $(BUILD)/two-sample-venv/complete ## two-sample tests and report beside scipy and evidently
	tests/bench/two_sample $< $(BUILD)/two-sample-venv/bin/python $(BUILD)/bench-data
bench-drift: ## speed of drift/ beside its peers
	@$(MAKE) --no-print-directory $(BENCH_DRIFT_PARTS)
