# kedge: build, test and package.  `make help` lists the targets.
# Sources are found by folder: a new file needs no change here.

BUILD   ?= build
CC      ?= gcc
CXX     ?= g++
VERSION := 0.1.0

# The folders in the order in which includes may point (a later one may use an earlier one).
MODULES := drift onnx registry pipeline deploy daemon

PACKAGES := glib-2.0 gio-unix-2.0 rdkafka sqlite3 libpq jansson libcyaml libmicrohttpd libcurl libprotobuf-c \
            libzip libzstd libcrypto libsystemd lapacke openblas simdjson
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow
CWARNINGS := $(WARNINGS) -Wmissing-prototypes -Wstrict-prototypes
OPTIMISE ?= -O2 -g
HARDEN   ?= -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
SANITIZE ?=
# -ffp-contract=off: the same rounding from every compiler, so that a verdict is the same to the bit.
COMMON   := $(OPTIMISE) $(HARDEN) $(SANITIZE) -ffp-contract=off -pthread -I. -I$(BUILD)/generated \
            -DKEDGE_VERSION='"$(VERSION)"' -D_GNU_SOURCE -MMD -MP
PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null)
CFLAGS   += -std=c17 $(CWARNINGS) $(COMMON) $(PKG_CFLAGS)
CXXFLAGS += -std=c++17 $(WARNINGS) $(COMMON) $(PKG_CFLAGS)
LDFLAGS  += $(SANITIZE) -pthread -pie -Wl,-z,relro,-z,now -Wl,--as-needed
LDLIBS   := $(PKG_LIBS) -ldnnl -lxgboost -lstdc++ -lm -ldl

include $(wildcard tests/*.mk)

PROGRAM_SOURCES := daemon/kedged.c daemon/kedge.c
sources  = $(filter-out $(PROGRAM_SOURCES),$(wildcard $(1)/*.c $(1)/*/*.c)) $(wildcard $(1)/*.cpp $(1)/*/*.cpp)
objects  = $(patsubst %,$(BUILD)/%.o,$(call sources,$(1)))
LIBRARIES := $(foreach m,$(MODULES),$(BUILD)/libkedge-$(m).a)
# Link order: users first.
LINK_LIBRARIES := $(foreach m,daemon deploy pipeline registry onnx drift,$(BUILD)/libkedge-$(m).a)

.PHONY: all clean help
all: $(BUILD)/kedge $(BUILD)/kedged

help:
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ —/'

# --- generated: ONNX protobuf from the distribution's own .proto -----------------------------------------------
ONNX_PROTO := /usr/include/onnx/onnx-ml.proto
$(BUILD)/generated/onnx-ml.pb-c.h $(BUILD)/generated/onnx-ml.pb-c.c &: $(ONNX_PROTO)
	@mkdir -p $(BUILD)/generated
	protoc-c -I$(dir $(ONNX_PROTO)) --c_out=$(BUILD)/generated onnx-ml.proto
$(BUILD)/generated/onnx-ml.pb-c.o: $(BUILD)/generated/onnx-ml.pb-c.c
	$(CC) -std=gnu17 $(OPTIMISE) $(HARDEN) $(SANITIZE) -w -I$(BUILD)/generated $(PKG_CFLAGS) -c $< -o $@
$(call objects,onnx): $(BUILD)/generated/onnx-ml.pb-c.h
$(BUILD)/libkedge-onnx.a: $(BUILD)/generated/onnx-ml.pb-c.o

# --- compile ----------------------------------------------------------------------------------------------------
$(BUILD)/%.c.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c $< -o $@
$(BUILD)/%.cpp.o: %.cpp
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS) -c $< -o $@

define module_rule
$(BUILD)/libkedge-$(1).a: $$(call objects,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	ar rcs $$@ $$^
endef
$(foreach m,$(MODULES),$(eval $(call module_rule,$(m))))

$(BUILD)/kedge $(BUILD)/kedged: $(BUILD)/%: $(BUILD)/daemon/%.c.o $(LIBRARIES)
	$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(LINK_LIBRARIES) -Wl,--end-group $(LDLIBS)

# --- unit tests: one Check program per tests/unit/NAME_test.c -----------------------------------------------------
UNIT_SOURCES  := $(wildcard tests/unit/*_test.c)
UNIT_PROGRAMS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(UNIT_SOURCES))
SUPPORT_OBJECTS := $(patsubst %,$(BUILD)/%.o,$(wildcard tests/support/*.c))
CHECK_CFLAGS  := $(shell pkg-config --cflags check 2>/dev/null)
CHECK_LIBS    := $(shell pkg-config --libs check 2>/dev/null)
$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.c.o $(SUPPORT_OBJECTS) $(LIBRARIES)
	$(CXX) $(LDFLAGS) -o $@ $< $(SUPPORT_OBJECTS) -Wl,--start-group $(LINK_LIBRARIES) -Wl,--end-group $(CHECK_LIBS) $(LDLIBS)
$(BUILD)/tests/%.c.o: CFLAGS += $(CHECK_CFLAGS)
.SECONDARY:

.PHONY: unit
unit: $(UNIT_PROGRAMS) ## build and run the unit tests
	tests/support/run-unit $(UNIT_PROGRAMS)

clean: ## remove the build folder
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
