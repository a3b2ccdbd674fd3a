# Reference values: every normative case must pass; GOLDENS is the folder of the families (*.json, data/*.csv).
.DEFAULT_GOAL := all
GOLDENS ?= ../shared/goldens
GOLDEN_OBJECTS := $(patsubst %,$(BUILD)/%.o,$(wildcard tests/golden/*.c))

$(BUILD)/tests/golden/golden: $(GOLDEN_OBJECTS) $(LIBRARIES)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $(GOLDEN_OBJECTS) -Wl,--start-group $(LINK_LIBRARIES) -Wl,--end-group $(LDLIBS)

golden: $(BUILD)/tests/golden/golden ## every reference value of other libraries in GOLDENS: passed, failed, unknown
	$< $(GOLDENS) $(if $(KIND),--kind $(KIND)) $(if $(CASE),--case $(CASE)) $(if $(VERBOSE),--verbose)
