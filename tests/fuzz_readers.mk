# Fuzzers of what reads foreign bytes: CSV, JSON lines, .npy, profiles, model schemas, states of detectors and of panes,
# sketches, checkpoints. clang's libFuzzer with ASan and UBSan. FUZZ_SECONDS=600 make fuzz-csv for longer. The rules that compile are in source.mk.
.DEFAULT_GOAL := all
FUZZ_SECONDS ?= 20
READERS_BUILD := $(BUILD)/fuzz
READERS_LIBRARY := $(READERS_BUILD)/libreaders.a
READERS_SOURCES := $(wildcard drift/*.c drift/*.cpp) daemon/error.c daemon/number_stream.c daemon/profile_json.c \
                   $(patsubst %,pipeline/%.c,csv date embedding error json_lines model_spec npy npy_rows npz row_stream \
                     safetensors spill)
$(READERS_LIBRARY): $(patsubst %,$(READERS_BUILD)/%.o,$(READERS_SOURCES)) tests/fuzz_readers.mk
	@rm -f $@
	ar rcs $@ $(filter %.o,$^)
# Its own pattern: the fuzzers that have this list of sources. What else they call comes from the libraries, without coverage.
READERS_REST := -Wl,--start-group $(LINK_LIBRARIES) -Wl,--end-group $(LDLIBS)
READERS := csv json_lines npy npz safetensors profile spec detector state sketch
$(patsubst %,$(READERS_BUILD)/%_fuzz,$(READERS)): $(READERS_BUILD)/%_fuzz: $(READERS_BUILD)/tests/fuzz/%_fuzz.c.o $(READERS_LIBRARY) $(LIBRARIES)
	clang++-14 -fsanitize=fuzzer,address,undefined -o $@ $< $(READERS_LIBRARY) $(READERS_REST)
$(READERS_BUILD)/seeds: $(READERS_BUILD)/tests/fuzz/seeds.c.o $(READERS_LIBRARY) $(LIBRARIES)
	clang++-14 -fsanitize=address,undefined -o $@ $< $(READERS_LIBRARY) $(READERS_REST)
$(READERS_BUILD)/binary_seeds: $(READERS_BUILD)/seeds
	@mkdir -p $@ && $< $@ && touch $@

# What differs: dictionary, seeds, the longest input.
FUZZ_OPTIONS_csv      := -dict=tests/fuzz/csv.dict -max_len=8192
FUZZ_OPTIONS_json_lines := -dict=tests/fuzz/json_lines.dict -max_len=8192
FUZZ_OPTIONS_npy      := -dict=tests/fuzz/npy.dict -max_len=1024
FUZZ_OPTIONS_npz      := -max_len=1024
FUZZ_OPTIONS_safetensors := -dict=tests/fuzz/safetensors.dict -max_len=1024
FUZZ_OPTIONS_profile  := -dict=tests/fuzz/json.dict -max_len=16384
FUZZ_OPTIONS_spec     := -dict=tests/fuzz/json.dict -max_len=16384
FUZZ_OPTIONS_detector := -max_len=100000
FUZZ_OPTIONS_state    := -max_len=20000
FUZZ_OPTIONS_sketch   := -max_len=20000
FUZZ_SEEDS_csv        := tests/fuzz/corpus_csv
FUZZ_SEEDS_json_lines := tests/fuzz/corpus_json_lines
FUZZ_SEEDS_npy        := tests/fuzz/corpus_npy
FUZZ_SEEDS_npz        := tests/fuzz/corpus_npz
FUZZ_SEEDS_safetensors := tests/fuzz/corpus_safetensors
FUZZ_SEEDS_profile    := tests/fuzz/corpus_profile
FUZZ_SEEDS_spec       := tests/fuzz/corpus_spec
FUZZ_SEEDS_detector   := $(READERS_BUILD)/binary_seeds/detector
FUZZ_SEEDS_state      := $(READERS_BUILD)/binary_seeds/state
FUZZ_SEEDS_sketch     := $(READERS_BUILD)/binary_seeds/sketch

FUZZERS += $(patsubst %,fuzz-%,$(READERS)) fuzz-decode
.PHONY: $(patsubst %,fuzz-%,$(READERS))
$(patsubst %,fuzz-%,$(READERS)): fuzz-%: $(READERS_BUILD)/%_fuzz $(READERS_BUILD)/binary_seeds
	@mkdir -p $(READERS_BUILD)/$*_corpus
	$< -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 $(FUZZ_OPTIONS_$*) \
	  -artifact_prefix=$(READERS_BUILD)/$*- $(READERS_BUILD)/$*_corpus $(FUZZ_SEEDS_$*)

# A fuzzer that no longer links finds nothing.
SUITES += check-fuzz
.PHONY: check-fuzz
check-fuzz: ## every fuzzer builds, and two seconds of each find nothing
	@passed=0 failed=0; for fuzzer in $(FUZZERS); do \
	  if $(MAKE) --no-print-directory -j2 FUZZ_SECONDS=2 $$fuzzer >$(READERS_BUILD)-$$fuzzer.log 2>&1; then passed=$$((passed + 1)); \
	  else failed=$$((failed + 1)); echo "$$fuzzer failed:"; tail -n 20 $(READERS_BUILD)-$$fuzzer.log; fi; done; \
	  echo "$$passed passed, $$failed failed"
