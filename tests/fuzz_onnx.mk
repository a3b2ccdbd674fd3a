# Fuzzing of the ONNX reader: clang's libFuzzer with ASan and UBSan. FUZZ_SECONDS=600 make fuzz-onnx for longer.
FUZZ_SECONDS ?= 20
FUZZ_BUILD := $(BUILD)/fuzz
FUZZ_FLAGS := -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -ffp-contract=off -D_GNU_SOURCE \
              -I. -I$(BUILD)/generated
FUZZ_SOURCES := $(wildcard onnx/*.c) $(wildcard drift/*.c) pipeline/error.c pipeline/tensor.c \
                $(wildcard pipeline/backend*.c pipeline/operator*.c pipeline/executor*.c) pipeline/model.c \
                pipeline/model_input.c pipeline/model_output.c

$(FUZZ_BUILD)/onnx_fuzz: tests/fuzz/onnx_fuzz.c $(FUZZ_SOURCES) $(BUILD)/generated/onnx-ml.pb-c.h
	@mkdir -p $(FUZZ_BUILD)
	clang-14 -std=gnu17 $(FUZZ_FLAGS) $(PKG_CFLAGS) -o $@ $< $(FUZZ_SOURCES) $(BUILD)/generated/onnx-ml.pb-c.c \
	  $(PKG_LIBS) -lm

.PHONY: fuzz-onnx
fuzz-onnx: $(FUZZ_BUILD)/onnx_fuzz $(ONNX_PYTHON) ## fuzz the ONNX reader for FUZZ_SECONDS (20)
	@mkdir -p $(FUZZ_BUILD)/onnx_corpus
	$(ONNX_PYTHON) tests/fuzz/onnx_corpus.py $(FUZZ_BUILD)/onnx_seeds
	$(FUZZ_BUILD)/onnx_fuzz -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 \
	  -artifact_prefix=$(FUZZ_BUILD)/ $(FUZZ_BUILD)/onnx_corpus $(FUZZ_BUILD)/onnx_seeds
