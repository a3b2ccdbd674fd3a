# What needs a CUDA device, or stands in for one. check_gpu links neither oneDNN nor XGBoost: it runs on any machine.
.DEFAULT_GOAL := all
GPU := $(BUILD)/tests/gpu
GPU_LIBRARIES := $(BUILD)/libkedge-pipeline.a $(BUILD)/libkedge-onnx.a $(BUILD)/libkedge-registry.a $(BUILD)/libkedge-drift.a
GPU_LIBS = $(shell pkg-config --libs glib-2.0) -lm -ldl

$(GPU)/check_gpu: $(patsubst tests/gpu/%.c,$(GPU)/%.c.o,tests/gpu/check_gpu.c tests/gpu/trainings.c tests/gpu/networks.c tests/gpu/without_onednn.c) $(GPU_LIBRARIES)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(GPU_LIBS)
