# The loop on every combination of parts; crashes, fencing, bad input, broken parts.
.DEFAULT_GOAL := all
$(BUILD)/tests/crash/labelled_log: $(BUILD)/tests/crash/labelled_log.c.o $(LIBRARIES)
	$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(LINK_LIBRARIES) -Wl,--end-group $(LDLIBS)
