# False alarms of the window verdict over simulated months, and its power (tests/alarm_budget). The long form takes about an
# hour and a half of CPU time; what drift/README.md shows is from it.
ALARM_BUDGET_OBJECTS := $(patsubst %,$(BUILD)/%.o,$(wildcard tests/alarm_budget/*.c))

$(BUILD)/tests/alarm_budget/alarm_budget: $(ALARM_BUDGET_OBJECTS) $(BUILD)/libkedge-drift.a
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $(ALARM_BUDGET_OBJECTS) $(BUILD)/libkedge-drift.a $(LDLIBS)

.PHONY: alarm-budget alarm-budget-short alarm-budget-power
SUITES += alarm-budget-short
alarm-budget: $(BUILD)/tests/alarm_budget/alarm_budget ## false alarms of the window verdict over simulated months
	@$< --inside
alarm-budget-power: $(BUILD)/tests/alarm_budget/alarm_budget ## what the window verdict finds, and when
	@$< --power
alarm-budget-short: $(BUILD)/tests/alarm_budget/alarm_budget
	@$< --short
