# Reference values: every normative case must pass; GOLDENS is the folder of the families (*.json, data/*.csv).
.DEFAULT_GOAL := all
GOLDENS ?= ../shared/goldens
GOLDEN_OBJECTS := $(patsubst %,$(BUILD)/%.o,$(wildcard tests/golden/*.c))

$(BUILD)/tests/golden/golden: $(GOLDEN_OBJECTS) $(LIBRARIES)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $(GOLDEN_OBJECTS) -Wl,--start-group $(LINK_LIBRARIES) -Wl,--end-group $(LDLIBS)

golden: $(BUILD)/tests/golden/golden ## every reference value of other libraries in GOLDENS: passed, failed, unknown
	$< $(GOLDENS) $(if $(KIND),--kind $(KIND)) $(if $(CASE),--case $(CASE)) $(if $(VERBOSE),--verbose)

SUITES += check-golden
.PHONY: check-golden
check-golden: $(BUILD)/tests/golden/golden ## the same as a suite of make check
	@if [ ! -d $(GOLDENS) ]; then echo "SKIP: the reference values $(GOLDENS) are not there"; echo "0 passed, 0 failed"; exit 0; fi; \
	 $(MAKE) --no-print-directory golden >$(BUILD)/golden.log 2>&1; status=$$?; tail -n 12 $(BUILD)/golden.log; \
	 sed -nE 's/^golden: passed ([0-9]+), failed ([0-9]+), unknown ([0-9]+).*/\1 \2 \3/p' $(BUILD)/golden.log | \
	   { read -r passed failed unknown; echo "$${passed:-0} passed, $$(( $${failed:-1} + $${unknown:-0} )) failed"; }; exit $$status
