# Online adaptation through the library: the loop's streams without a daemon.
.DEFAULT_GOAL := all
MIXTURE_LIBRARIES := $(foreach m,pipeline registry onnx drift,$(BUILD)/libkedge-$(m).a)
$(BUILD)/tests/mixture/mixture_loop: $(BUILD)/tests/mixture/mixture_loop.c.o $(MIXTURE_LIBRARIES)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(MIXTURE_LIBRARIES) -Wl,--end-group $(LDLIBS)

SUITES += check-mixture
.PHONY: check-mixture learn-mixture
check-mixture: $(ONNX_PYTHON) $(BUILD)/kedge $(BUILD)/tests/mixture/mixture_loop ## a changing stream learnt online, and its graph in ONNX Runtime
	PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/mixture/mixture_test $(BUILD)/tests/mixture/mixture_loop $(BUILD)/kedge $(BUILD)/mixture short
learn-mixture: $(ONNX_PYTHON) $(BUILD)/kedge $(BUILD)/tests/mixture/mixture_loop ## Elec2, sine and mixed learnt online, three seeds
	PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/mixture/mixture_test $(BUILD)/tests/mixture/mixture_loop $(BUILD)/kedge $(BUILD)/mixture long
