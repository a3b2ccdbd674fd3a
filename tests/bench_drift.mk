# make bench-drift: every figure of speed of drift/ beside its peers, CPU time, in turn; tests/bench/drift/compare says how.
# Peers are in throw-away virtual environments, several because their requirements contradict each other.
#   ROUNDS=5 PARTS=two_sample,report,stream,estimate,fairness,multivariate,sketch,accumulate
# This file is read before the first target of the Makefile.
.DEFAULT_GOAL := all
BENCH_DRIFT := $(BUILD)/bench-drift
BENCH_DRIFT_VENVS := $(patsubst tests/bench/drift/requirements_%.txt,%,$(wildcard tests/bench/drift/requirements_*.txt))
BENCH_DRIFT_OBJECTS := $(patsubst %,$(BUILD)/%.o,$(wildcard tests/bench/drift/*.c))

$(BUILD)/tests/bench/drift_bench: $(BENCH_DRIFT_OBJECTS) $(LIBRARIES)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $(BENCH_DRIFT_OBJECTS) -Wl,--start-group $(LINK_LIBRARIES) -Wl,--end-group $(LDLIBS)
$(BUILD)/tests/bench/accumulate_bench: $(BUILD)/tests/bench/accumulate_bench.c.o $(BUILD)/libkedge-drift.a
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BENCH_DRIFT)/%/complete: tests/bench/drift/requirements_%.txt
	@rm -rf $(@D)
	python3 -m venv $(@D)
	$(@D)/bin/pip install -q $(if $(findstring moa,$*),--no-deps) -r $<
	@touch $@
$(BENCH_DRIFT)/MoaBench.class: tests/bench/drift/MoaBench.java $(BENCH_DRIFT)/moa/complete
	javac -cp $(BENCH_DRIFT)/moa/lib/python3*/site-packages/capymoa/jar/moa.jar -d $(@D) $<
$(BENCH_DRIFT)/data/complete: tests/bench/drift/data.py
	python3 $< $(@D)
	@touch $@

.PHONY: bench-drift bench-accumulate check-bench-drift
bench-drift: $(BUILD)/tests/bench/drift_bench $(BUILD)/tests/bench/accumulate_bench $(BENCH_DRIFT)/data/complete \
             $(BENCH_DRIFT)/MoaBench.class $(foreach v,$(BENCH_DRIFT_VENVS),$(BENCH_DRIFT)/$(v)/complete) ## speed of drift/ beside its peers (ROUNDS, PARTS)
	tests/bench/drift/compare --build $(BUILD)
bench-accumulate: $(BUILD)/tests/bench/accumulate_bench ## nanoseconds per event of bin look-up and accumulation
	$<

# That the comparison still runs: small data, no peers, nothing said of speed.
FAST_SUITES += check-bench-drift
check-bench-drift: $(BUILD)/tests/bench/drift_bench $(BUILD)/tests/bench/accumulate_bench ## the comparison runs, without peers
	@rm -rf $(BUILD)/bench-drift-small
	@python3 tests/bench/drift/data.py $(BUILD)/bench-drift-small/data 10
	@tests/bench/drift/compare --build $(BUILD) --folder $(BUILD)/bench-drift-small --check
