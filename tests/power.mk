# Detection quality of the streaming detectors on streams with known changes (tests/power/streams.c), and the false
# alarms of the default. `auto` was tuned on seeds 1 to 4,000 (TUNING=1 begins there); seeds from 100,000, 1,000,000,
# 2,000,000 and 3,000,000 were looked at between settings; what is reported begins at seed 4,000,000.
POWER_SEEDS ?= 40
POWER_NULL_SEEDS ?= 100
POWER_FIRST_SEED ?= $(if $(TUNING),1,4000000)
POWER_METHODS ?= auto adwin
POWER_OBJECTS := $(patsubst %,$(BUILD)/%.o,$(wildcard tests/power/*.c))

$(BUILD)/tests/power/power: $(POWER_OBJECTS) $(BUILD)/libkedge-drift.a
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $(POWER_OBJECTS) $(BUILD)/libkedge-drift.a $(LDLIBS)

.PHONY: power alarm-budget-stream
power: $(BUILD)/tests/power/power ## delay, misses and false alarms of streaming detectors (POWER_SEEDS, POWER_METHODS)
	@for method in $(POWER_METHODS); do $< --method $$method --seeds $(POWER_SEEDS) --null-seeds $(POWER_NULL_SEEDS) \
	  --first-seed $(POWER_FIRST_SEED) || exit; echo; done
alarm-budget-stream: $(BUILD)/tests/power/power ## false alarms of auto on nulls, default budget and a budget of months
	@$< --streams none,t3,ar1,error-none,error-rare,arma,garch,daily-sine,rounded,zero-inflated \
	  --null-seeds $(POWER_NULL_SEEDS) --first-seed $(POWER_FIRST_SEED) --false-alarms-at-most .1
	@$< --streams none,t3,ar1,error-none,error-rare --option budget=.01 \
	  --null-seeds $(POWER_NULL_SEEDS) --first-seed $(POWER_FIRST_SEED) --false-alarms-at-most .02

$(BUILD)/tests/bench/stream_bench: $(BUILD)/tests/bench/stream_bench.c.o $(BUILD)/libkedge-drift.a
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)
.PHONY: bench-stream
BENCHMARKS += bench-stream
bench-stream: $(BUILD)/tests/bench/stream_bench ## CPU time an event and memory of every online detector
	$<
