# Fuzzing of the readers of sketches and of the fairness audit. FUZZ_SECONDS=600 make fuzz-sketch for longer.
FUZZ_SECONDS ?= 20
.DEFAULT_GOAL := all
SKETCH_FUZZ_SOURCES := drift/kll.c drift/hyperloglog.c drift/frequent.c drift/fairness_audit.c drift/bytes.c drift/schema.c \
                       drift/row.c

$(BUILD)/fuzz/sketch_fuzz: tests/fuzz/sketch_fuzz.c $(SKETCH_FUZZ_SOURCES)
	@mkdir -p $(@D)/sketch_corpus
	clang-14 -std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -D_GNU_SOURCE -I. \
	  $(PKG_CFLAGS) -o $@ $^ $(PKG_LIBS) -lm

FUZZERS += fuzz-sketch
.PHONY: fuzz-sketch
fuzz-sketch: $(BUILD)/fuzz/sketch_fuzz ## fuzz the readers of sketches for FUZZ_SECONDS (20)
	$< -max_total_time=$(FUZZ_SECONDS) -max_len=20000 -timeout=10 -print_final_stats=1 -artifact_prefix=$(BUILD)/fuzz/ \
	  $(BUILD)/fuzz/sketch_corpus
