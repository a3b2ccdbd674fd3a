# make bench: what the way of an event costs, beside librdkafka alone and a Python peer in the same run.
#   BENCH_EVENTS=1000000 BENCH_PARTITIONS=1 BENCH_REPEAT=3; BENCH_QUICK=1: 200,000 events, SQLite, Kafka or mock broker
.DEFAULT_GOAL := all
BENCHMARKS += bench-ingest

BENCH_TOOLS := $(addprefix $(BUILD)/tests/bench/,produce raw_consume measure_daemon register_copies)
$(BUILD)/tests/bench/produce: $(BUILD)/tests/bench/produce.c.o
	$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(BUILD)/tests/bench/raw_consume: $(BUILD)/tests/bench/raw_consume.cpp.o
	$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(BUILD)/tests/bench/measure_daemon $(BUILD)/tests/bench/register_copies: $(BUILD)/%: $(BUILD)/%.c.o $(BUILD)/libkedge-registry.a
	$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/bench-venv/complete: tests/bench/requirements.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install -q -r $<
	@touch $@

.PHONY: bench-ingest
bench-ingest: $(BUILD)/kedge $(BUILD)/kedged $(BENCH_TOOLS) $(BUILD)/bench-venv/complete ## the whole path from Kafka to a stored checkpoint
	tests/bench/ingest --build $(BUILD)
