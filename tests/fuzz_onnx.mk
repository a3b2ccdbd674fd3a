# Fuzzing of the ONNX reader: clang's libFuzzer with ASan and UBSan. FUZZ_SECONDS=600 make fuzz-onnx for longer.
FUZZ_SECONDS ?= 20
ONNX_FUZZ_BUILD := $(BUILD)/fuzz
ONNX_FUZZ_SOURCES := $(wildcard onnx/*.c pipeline/backend*.c pipeline/operator*.c pipeline/executor*.c) \
                     $(patsubst %,pipeline/%.c,error tensor model model_input model_output)
ONNX_FUZZ_OBJECTS := $(patsubst %,$(ONNX_FUZZ_BUILD)/%.o,tests/fuzz/onnx_fuzz.c $(ONNX_FUZZ_SOURCES))

$(ONNX_FUZZ_OBJECTS): $(BUILD)/generated/onnx-ml.pb-c.h
$(ONNX_FUZZ_BUILD)/onnx-ml.pb-c.o: $(BUILD)/generated/onnx-ml.pb-c.c
	@mkdir -p $(@D)
	clang-14 -std=gnu17 $(FUZZ_FLAGS) -w -I$(BUILD)/generated $(PKG_CFLAGS) -c $< -o $@
# What else they call comes from the libraries, without coverage.
$(ONNX_FUZZ_BUILD)/onnx_fuzz: $(ONNX_FUZZ_OBJECTS) $(ONNX_FUZZ_BUILD)/onnx-ml.pb-c.o $(LIBRARIES)
	clang++-14 -fsanitize=fuzzer,address,undefined -o $@ $(filter %.o,$^) -Wl,--start-group $(LINK_LIBRARIES) -Wl,--end-group $(LDLIBS)

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
