# Sources and decoders: tests on a real Kafka, fuzzing.

KAFKA_TEST_DIR  ?= /tmp/kedge-kafka-$(shell id -u)
KAFKA_TEST_PORT ?= 19092

SUITES += test-kafka
.PHONY: test-kafka
test-kafka: $(BUILD)/tests/unit/source_kafka_test ## the Kafka source against a real broker
	tests/kafka/run $(KAFKA_TEST_DIR) $(KAFKA_TEST_PORT) $<

# The decoders under libFuzzer with ASan and UBSan; FUZZ_SECONDS a target. Its own objects: clang with coverage.
FUZZ_SECONDS ?= 20
FUZZ_FLAGS   := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
FUZZ_BUILD   := $(BUILD)/fuzz
FUZZ_C       := $(wildcard daemon/decode*.c) daemon/error.c drift/schema.c drift/row.c drift/bytes.c pipeline/date.c tests/fuzz/decode_fuzz.c
FUZZ_CPP     := $(wildcard daemon/decode*.cpp)
$(FUZZ_BUILD)/%.c.o: %.c
	@mkdir -p $(@D)
	clang-14 -std=c17 $(FUZZ_FLAGS) -I. -I$(BUILD)/generated -D_GNU_SOURCE $(PKG_CFLAGS) -MMD -MP -c $< -o $@
$(FUZZ_BUILD)/%.cpp.o: %.cpp
	@mkdir -p $(@D)
	clang++-14 -std=c++17 $(FUZZ_FLAGS) -I. -D_GNU_SOURCE $(PKG_CFLAGS) -MMD -MP -c $< -o $@
$(FUZZ_BUILD)/decode_fuzz: $(patsubst %,$(FUZZ_BUILD)/%.o,$(FUZZ_C) $(FUZZ_CPP))
	clang++-14 -fsanitize=fuzzer,address,undefined -o $@ $^ $(PKG_LIBS) -lm

.PHONY: fuzz-decode
fuzz-decode: $(FUZZ_BUILD)/decode_fuzz ## fuzz the decoders for FUZZ_SECONDS (20)
	@mkdir -p $(FUZZ_BUILD)/corpus
	$(FUZZ_BUILD)/decode_fuzz -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=10 -print_final_stats=1 \
	  -dict=tests/fuzz/decode.dict -artifact_prefix=$(FUZZ_BUILD)/ $(FUZZ_BUILD)/corpus tests/fuzz/corpus
