# Fuzzing of the ONNX reader: clang's libFuzzer with ASan and UBSan. FUZZ_SECONDS=600 make fuzz-onnx for longer.
FUZZ_SECONDS ?= 20
ONNX_FUZZ_BUILD := $(BUILD)/fuzz
ONNX_FUZZ_FLAGS := -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -ffp-contract=off -D_GNU_SOURCE \
              -I. -I$(BUILD)/generated
ONNX_FUZZ_SOURCES := $(wildcard onnx/*.c) pipeline/error.c pipeline/tensor.c \
                $(wildcard pipeline/backend*.c pipeline/operator*.c pipeline/executor*.c) pipeline/model.c \
                pipeline/model_input.c pipeline/model_output.c

$(ONNX_FUZZ_BUILD)/onnx_fuzz: tests/fuzz/onnx_fuzz.c $(ONNX_FUZZ_SOURCES) $(BUILD)/generated/onnx-ml.pb-c.h \
                           $(BUILD)/libkedge-drift.a
	@mkdir -p $(ONNX_FUZZ_BUILD)
	clang-14 -std=gnu17 $(ONNX_FUZZ_FLAGS) $(PKG_CFLAGS) -o $@ $< $(ONNX_FUZZ_SOURCES) $(BUILD)/generated/onnx-ml.pb-c.c \
	  $(BUILD)/libkedge-drift.a $(PKG_LIBS) -ldnnl -ldl -lm

FUZZERS += fuzz-onnx
.PHONY: fuzz-onnx
fuzz-onnx: $(ONNX_FUZZ_BUILD)/onnx_fuzz ## fuzz the ONNX reader for FUZZ_SECONDS (20); after check-onnx and onnx-conformance with more seeds
	@mkdir -p $(ONNX_FUZZ_BUILD)/onnx_corpus $(ONNX_FUZZ_BUILD)/onnx_seeds
	@cp tests/fixtures/onnx/*.onnx $(ONNX_FUZZ_BUILD)/onnx_seeds
	@if [ -f $(CONFORMANCE)/cases.tsv ]; then awk -F'\t' '$$1 != "light" { print $$7 }' $(CONFORMANCE)/cases.tsv | \
	  while read -r folder; do cp $$folder/model.onnx $(ONNX_FUZZ_BUILD)/onnx_seeds/$$(basename $$folder).onnx; done; fi
	@if [ -x $(ONNX_PYTHON) ]; then \
	  PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/fuzz/onnx_corpus.py $(ONNX_FUZZ_BUILD)/onnx_seeds; fi
	$(ONNX_FUZZ_BUILD)/onnx_fuzz -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 \
	  -artifact_prefix=$(ONNX_FUZZ_BUILD)/ $(ONNX_FUZZ_BUILD)/onnx_corpus $(ONNX_FUZZ_BUILD)/onnx_seeds
