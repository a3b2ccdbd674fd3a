# Online adaptation through the library: the loop's streams without a daemon.
.DEFAULT_GOAL := all
MIXTURE_LIBRARIES := $(foreach m,pipeline registry onnx drift,$(BUILD)/libkedge-$(m).a)
$(BUILD)/tests/mixture/mixture_loop: $(BUILD)/tests/mixture/mixture_loop.c.o $(MIXTURE_LIBRARIES)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(MIXTURE_LIBRARIES) -Wl,--end-group $(LDLIBS)
