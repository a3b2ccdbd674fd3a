# kedge: build, test and package.  `make help` lists the targets.
# Sources are found by folder: a new file needs no change here.

BUILD   ?= build
V       ?= 0
Q       := $(if $(filter 1,$(V)),,@)
say      = $(if $(filter 1,$(V)),,@printf '%-8s %s\n' $(1) $(2))
CC      ?= gcc
CXX     ?= g++
VERSION := 0.1.0

# The folders in the order in which includes may point (a later one may use an earlier one).
MODULES := drift onnx registry pipeline deploy daemon

PACKAGES := glib-2.0 gio-unix-2.0 rdkafka sqlite3 libpq jansson libcyaml libmicrohttpd libcurl libprotobuf-c \
            libzstd libcrypto libsystemd lapacke openblas simdjson libzip
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

PROGRAM_SOURCES := daemon/kedged.c daemon/kedge.c
# Libraries of their own, loaded at run time (tests/parallel.mk, tests/gpu.mk).
PLUGIN_SOURCES := pipeline/mpi/plugin.c pipeline/cuda/nccl.c
sources  = $(filter-out $(PROGRAM_SOURCES) $(PLUGIN_SOURCES),$(wildcard $(1)/*.c $(1)/*/*.c)) $(wildcard $(1)/*.cpp $(1)/*/*.cpp)
objects  = $(patsubst %,$(BUILD)/%.o,$(call sources,$(1)))
LIBRARIES := $(foreach m,$(MODULES),$(BUILD)/libkedge-$(m).a)
# Link order: users first.
LINK_LIBRARIES := $(foreach m,daemon deploy pipeline registry onnx drift,$(BUILD)/libkedge-$(m).a)

.PHONY: all clean help
all: $(BUILD)/kedge $(BUILD)/kedged ## build kedge and kedged

# Targets of the tests; a fragment adds its suites to SUITES (slow ones) or FAST_SUITES.
SUITES :=
FAST_SUITES := unit
# The Python of the tests (tests/onnx.mk makes it): prerequisites of several of the files below.
ONNX_PYTHON := $(BUILD)/venv/bin/python
include $(wildcard tests/*.mk)

help:
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ —/'

# --- generated: ONNX protobuf from the distribution's own .proto -----------------------------------------------
# Debian installs the ML variant of the schema as onnx.proto; the generated files keep the upstream name.
$(BUILD)/generated/proto/onnx-ml.proto: /usr/include/onnx/onnx.proto
	@mkdir -p $(@D)
	$(Q)cp $< $@
$(BUILD)/generated/onnx-ml.pb-c.h $(BUILD)/generated/onnx-ml.pb-c.c &: $(BUILD)/generated/proto/onnx-ml.proto
	$(call say,PROTOC,onnx-ml.proto)
	$(Q)protoc-c -I$(BUILD)/generated/proto --c_out=$(BUILD)/generated onnx-ml.proto
$(BUILD)/generated/onnx-ml.pb-c.o: $(BUILD)/generated/onnx-ml.pb-c.c
	$(call say,CC,$<)
	$(Q)$(CC) -std=gnu17 $(OPTIMISE) $(HARDEN) $(SANITIZE) -w -I$(BUILD)/generated $(PKG_CFLAGS) -c $< -o $@
$(call objects,onnx): $(BUILD)/generated/onnx-ml.pb-c.h
$(BUILD)/libkedge-onnx.a: $(BUILD)/generated/onnx-ml.pb-c.o

# --- compile ----------------------------------------------------------------------------------------------------
$(BUILD)/%.c.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS) -c $< -o $@
$(BUILD)/%.cpp.o: %.cpp
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(Q)$(CXX) $(CXXFLAGS) -c $< -o $@

# What every event, and every weight of a training, passes through: the same results, faster.
HOT := pipeline/graph_optimiser.c pipeline/attack_gradient.c pipeline/gradient_recurrent.c daemon/decode_json.cpp daemon/shard.c daemon/shard_seen.c daemon/consumer_feed.c drift/accumulator_event.c drift/bins.c
# And loops over whole columns, which vectorise at that level.
HOT += drift/cbpe_view.c drift/mersenne_twister.c pipeline/backend_reference.c pipeline/mpi/shared_sum.c
HOT += pipeline/operator_binary.c pipeline/gradient_support.c pipeline/gradient_binary.c pipeline/attack_model.c
# And over images.
HOT += pipeline/onednn_images.c pipeline/onednn_max_pool.c pipeline/onednn_convolution_narrow.c pipeline/onednn_winograd_avx2.c pipeline/onednn_winograd_avx512.c
$(patsubst %,$(BUILD)/%.o,$(HOT)): CFLAGS += $(patsubst -O2,-O3,$(filter -O2,$(OPTIMISE)))
# Products that a library would fuse too: their bits are promised on one instruction set only.
$(patsubst %,$(BUILD)/pipeline/onednn_winograd_%.c.o,avx2 avx512): CFLAGS += -ffp-contract=fast
$(patsubst %,$(BUILD)/%.o,$(HOT)): CXXFLAGS += $(patsubst -O2,-O3,$(filter -O2,$(OPTIMISE)))
# Roots that may set errno and comparisons that may trap are no vector's; their values are the same.
$(BUILD)/pipeline/graph_optimiser.c.o: CFLAGS += -fno-math-errno -fno-trapping-math

define module_rule
$(BUILD)/libkedge-$(1).a: $$(call objects,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(call say,AR,$$@)
	$(Q)ar rcs $$@ $$^
endef
$(foreach m,$(MODULES),$(eval $(call module_rule,$(m))))

$(BUILD)/kedge $(BUILD)/kedged: $(BUILD)/%: $(BUILD)/daemon/%.c.o $(LIBRARIES)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(LINK_LIBRARIES) -Wl,--end-group $(LDLIBS)

# --- unit tests: one Check program per tests/unit/NAME_test.c -----------------------------------------------------
UNIT_SOURCES  := $(wildcard tests/unit/*_test.c)
UNIT_PROGRAMS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(UNIT_SOURCES))
SUPPORT_OBJECTS := $(patsubst %,$(BUILD)/%.o,$(wildcard tests/support/*.c))
CHECK_CFLAGS  := $(shell pkg-config --cflags check 2>/dev/null)
CHECK_LIBS    := $(shell pkg-config --libs check 2>/dev/null)
$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.c.o $(SUPPORT_OBJECTS) $(LIBRARIES)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(LINK_LIBRARIES) -Wl,--end-group $(CHECK_LIBS) $(LDLIBS)
$(BUILD)/tests/%.c.o: CFLAGS += $(CHECK_CFLAGS)
.SECONDARY:

.PHONY: unit
unit: $(UNIT_PROGRAMS) ## build and run the unit tests
	tests/support/run-unit $(UNIT_PROGRAMS)

# --- the two commands, and the rest -------------------------------------------------------------------------------------
.PHONY: deps deps-test demo demo-stop check check-fast lint asan ubsan tsan fuzz golden bench
deps: ## install by apt what building and running needs
	@deploy/dependencies build
deps-test: ## install what the tests need on top
	@deploy/dependencies test

demo: deps ## install, build, and watch kedge notice a drift and mend the model (6 minutes)
	@$(MAKE) --no-print-directory -j2 all
	@BUILD=$(BUILD) deploy/demo
demo-stop: ## stop what the demo left running
	@BUILD=$(BUILD) deploy/demo stop

check: deps-test ## install the test parts, run all tests
	@$(MAKE) --no-print-directory -j2 all
	@$(MAKE) --no-print-directory check-installed
.PHONY: check-installed
check-installed:
	@BUILD=$(BUILD) MAKE="$(MAKE)" tests/support/run-suites $(FAST_SUITES) $(SUITES)
check-fast: all ## the tests that need less than two minutes
	@BUILD=$(BUILD) MAKE="$(MAKE)" tests/support/run-suites $(FAST_SUITES)

lint: ## format, include direction, documentation, gcc -fanalyzer
	@BUILD=$(BUILD) tests/lint

SANITIZED := OPTIMISE="-O1 -g -fno-omit-frame-pointer" HARDEN=-fPIE
asan: ## unit tests under AddressSanitizer (and UBSan)
	@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD)-asan $(SANITIZED) SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=undefined" unit
ubsan: ## unit tests under UndefinedBehaviorSanitizer, clang
	@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD)-ubsan CC=clang CXX=clang++ $(SANITIZED) SANITIZE="-fsanitize=undefined -fno-sanitize-recover=undefined" unit
tsan: ## unit tests under ThreadSanitizer, clang
	@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD)-tsan CC=clang CXX=clang++ $(SANITIZED) SANITIZE="-fsanitize=thread" unit
fuzz: $(FUZZERS) ## every fuzzer for 20 s (FUZZ_SECONDS)
bench: $(BENCHMARKS) ## speed, as ratios against a peer or a physical anchor in the same run

# --- installation -------------------------------------------------------------------------------------------------------
PREFIX ?= /usr
DESTDIR ?=
.PHONY: install
install: all man ## install into DESTDIR/PREFIX
	install -D -m 755 $(BUILD)/kedge $(DESTDIR)$(PREFIX)/bin/kedge
	install -D -m 755 $(BUILD)/kedged $(DESTDIR)$(PREFIX)/bin/kedged
	install -D -m 644 $(BUILD)/man/kedge.1 $(DESTDIR)$(PREFIX)/share/man/man1/kedge.1
	install -D -m 644 $(BUILD)/man/kedge.yaml.5 $(DESTDIR)$(PREFIX)/share/man/man5/kedge.yaml.5
	install -D -m 644 $(BUILD)/man/kedged.8 $(DESTDIR)$(PREFIX)/share/man/man8/kedged.8
	install -D -m 644 $(BUILD)/completion/kedge $(DESTDIR)$(PREFIX)/share/bash-completion/completions/kedge
	install -d $(DESTDIR)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/doc/kedge/examples
	install -m 644 $(wildcard deploy/systemd/*.service) $(DESTDIR)/lib/systemd/system
	install -m 644 $(wildcard deploy/examples/*.yaml) $(DESTDIR)$(PREFIX)/share/doc/kedge/examples

.PHONY: install-cuda
install-cuda: cuda ## install the CUDA plugin into DESTDIR/PREFIX
	install -D -m 644 $(BUILD)/libkedge-cuda.so $(DESTDIR)$(PREFIX)/lib/kedge/libkedge-cuda.so

.PHONY: install-mpi
install-mpi: mpi ## install the MPI plugin into DESTDIR/PREFIX
	install -D -m 755 $(BUILD)/libkedge-mpi.so $(DESTDIR)$(PREFIX)/lib/kedge/libkedge-mpi.so

# Its own objects: paths of this machine in them would make the package differ from one made elsewhere.
.PHONY: deb
deb: ## the Debian package, in $(BUILD)-deb
	@deploy/dependencies package
	@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD)-deb OPTIMISE="-O2 -g -ffile-prefix-map=$(CURDIR)=." all man
	@rm -rf $(BUILD)-deb/root
	@$(MAKE) --no-print-directory BUILD=$(BUILD)-deb OPTIMISE="-O2 -g -ffile-prefix-map=$(CURDIR)=." \
	  PREFIX=/usr DESTDIR=$(BUILD)-deb/root install >/dev/null
	@deploy/debian/build $(BUILD)-deb/root $(BUILD)-deb

clean: ## remove the build folder
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -type f -name '*.d' 2>/dev/null)
