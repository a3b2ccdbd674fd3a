# The loop on every combination of parts; crashes, fencing, bad input, broken parts.
.DEFAULT_GOAL := all
$(BUILD)/tests/crash/labelled_log: $(BUILD)/tests/crash/labelled_log.c.o $(LIBRARIES)
	$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(LINK_LIBRARIES) -Wl,--end-group $(LDLIBS)

SUITES += check-crash
.PHONY: check-crash check-crash-full
check-crash: all $(BUILD)/tests/crash/labelled_log ## 10 kills and restarts on PostgreSQL and Kafka, 10 on the embedded parts: the same store
	BUILD=$(BUILD) tests/crash/crash_test
	BUILD=$(BUILD) tests/crash/crash_test STORE=sqlite BROKER=embedded SEED=2 OUT=$(BUILD)/crash-test-embedded
check-crash-full: all $(BUILD)/tests/crash/labelled_log ## the same on all of Elec2 with 30 kills
	BUILD=$(BUILD) tests/crash/crash_test ROWS=0 KILLS=30 INTERVAL=2 OUT=$(BUILD)/crash-test-full

SUITES += check-recreated-topic
.PHONY: check-recreated-topic
check-recreated-topic: all $(BUILD)/tests/crash/labelled_log ## a topic that was deleted and created again: an incident, not a gap
	BUILD=$(BUILD) tests/crash/recreated_topic_test postgres

SUITES += check-two-daemons
.PHONY: check-two-daemons check-two-daemons-full
check-two-daemons: all $(BUILD)/tests/crash/labelled_log ## two daemons share four partitions; owner and leader are stopped past their session
	BUILD=$(BUILD) tests/crash/two_daemons_test
check-two-daemons-full: all $(BUILD)/tests/crash/labelled_log ## the same five times over
	BUILD=$(BUILD) tests/crash/two_daemons_test ROUNDS=5

SUITES += check-bad-input check-broken-parts
.PHONY: check-bad-input check-broken-parts
check-bad-input: all $(BUILD)/tests/crash/labelled_log ## one bad record in a hundred: counted, dead-lettered, the same verdicts
	BUILD=$(BUILD) tests/crash/bad_input_test
check-broken-parts: all $(BUILD)/tests/crash/labelled_log ## broken settings, models, broker, database, targets, full disk
	BUILD=$(BUILD) tests/crash/broken_parts_test
