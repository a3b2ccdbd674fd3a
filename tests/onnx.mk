.DEFAULT_GOAL := all

# Debian installs the ML variant of the schema as onnx.proto; the generated files keep the upstream name onnx-ml.
override ONNX_PROTO := $(BUILD)/generated/proto/onnx-ml.proto
$(BUILD)/generated/proto/onnx-ml.proto: /usr/include/onnx/onnx.proto
	@mkdir -p $(@D)
	cp $< $@
