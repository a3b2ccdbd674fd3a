# What `make lint` asks of the compilers: gcc with -fanalyzer and clang, nothing to say at the stated warnings. What they
# said is kept in $(BUILD)/lint: a file is looked at again when it or a header of it changed.
LINT_C       := $(wildcard $(foreach m,$(MODULES),$(m)/*.c $(m)/*/*.c) tests/*/*.c)
LINT_CPP     := $(wildcard $(foreach m,$(MODULES),$(m)/*.cpp $(m)/*/*.cpp))
LINT_ANALYZE := -fanalyzer -fdiagnostics-plain-output -S -o /dev/null
LINT_PASSES  := $(LINT_C:%=$(BUILD)/lint/gcc/%.ok) $(LINT_C:%=$(BUILD)/lint/clang/%.ok) \
                $(LINT_CPP:%=$(BUILD)/lint/gcc/%.ok) $(LINT_CPP:%=$(BUILD)/lint/clang/%.ok)
LINT_CLANG   ?= clang-14

.PHONY: lint-compilers lint-list
lint-compilers: $(LINT_PASSES)
lint-list:
	@printf '%s\n' $(LINT_PASSES)
$(LINT_PASSES): tests/lint_compile | $(BUILD)/generated/onnx-ml.pb-c.h
$(BUILD)/lint/gcc/%.c.ok: %.c
	@tests/lint_compile $@ $< $(CC) $(CFLAGS) $(LINT_ANALYZE)
# The analyzer looks at what runs in production; tests may dereference what they have just put there.
$(BUILD)/lint/gcc/tests/%.c.ok: tests/%.c
	@tests/lint_compile $@ $< $(CC) $(CFLAGS) $(CHECK_CFLAGS) -S -o /dev/null
$(BUILD)/lint/clang/%.c.ok: %.c
	@tests/lint_compile $@ $< $(LINT_CLANG) $(CFLAGS) $(CHECK_CFLAGS) -fsyntax-only
$(BUILD)/lint/gcc/%.cpp.ok: %.cpp
	@tests/lint_compile $@ $< $(CXX) $(CXXFLAGS) -S -o /dev/null
$(BUILD)/lint/clang/%.cpp.ok: %.cpp
	@tests/lint_compile $@ $< $(LINT_CLANG:clang%=clang++%) $(CXXFLAGS) -fsyntax-only
