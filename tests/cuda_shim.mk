# CUDA on the processor: pipeline/cuda/*.cu compiled through tests/cuda_shim into a plugin, and what runs on it.
.DEFAULT_GOAL := all
CUDA_SHIM := $(BUILD)/cuda-shim
# clang, for it puts the static shared arrays of templates where they are filled with NaN; gcc compiles the same.
CUDA_SHIM_CXX ?= clang++-14
CUDA_SHIM_SANITIZE ?=
CUDA_SHIM_FLAGS = -std=c++17 -O2 -g $(WARNINGS) -fPIC -ffp-contract=off -pthread $(CUDA_SHIM_SANITIZE) -I. -Itests/cuda_shim/include \
                  $(patsubst -I%,-isystem%,$(PKG_CFLAGS)) $(CHECK_CFLAGS) -MMD -MP
CUDA_SHIM_LIBS := $(shell pkg-config --libs openblas 2>/dev/null)
CUDA_SHIM_OBJECTS := $(patsubst tests/cuda_shim/%.cpp,$(CUDA_SHIM)/shim/%.o,$(wildcard tests/cuda_shim/*.cpp))
CUDA_SHIM_KERNELS := $(patsubst pipeline/cuda/%.cu,$(CUDA_SHIM)/kernels/%.o,$(wildcard pipeline/cuda/*.cu))
# test_races is about threads of the operating system; the other way round, faults and streams are no matter of them.
CUDA_SHIM_TESTS := $(patsubst tests/cuda_shim/%.cu,$(CUDA_SHIM)/tests/%,$(filter-out %/test_races.cu,$(wildcard tests/cuda_shim/test_*.cu)))

$(CUDA_SHIM)/shim/%.o: tests/cuda_shim/%.cpp
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(Q)$(CUDA_SHIM_CXX) $(CUDA_SHIM_FLAGS) -c $< -o $@
$(CUDA_SHIM)/kernels/%.o: pipeline/cuda/%.cu
	@mkdir -p $(@D)
	$(call say,CU,$<)
	$(Q)$(CUDA_SHIM_CXX) -x c++ $(CUDA_SHIM_FLAGS) -DPIPELINE_CUDA_COLUMNS_BYTES=65536 -c $< -o $@
$(CUDA_SHIM)/tests/%.o: tests/cuda_shim/%.cu
	@mkdir -p $(@D)
	$(call say,CU,$<)
	$(Q)$(CUDA_SHIM_CXX) -x c++ $(CUDA_SHIM_FLAGS) -c $< -o $@
$(CUDA_SHIM)/tests/%: $(CUDA_SHIM)/tests/%.o $(CUDA_SHIM_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CUDA_SHIM_CXX) $(CUDA_SHIM_SANITIZE) -pthread -o $@ $^ $(CHECK_LIBS) $(CUDA_SHIM_LIBS)
# The plugin: the same symbol as the one that nvcc makes.
$(CUDA_SHIM)/libkedge-cuda-shim.so: $(CUDA_SHIM_KERNELS) $(CUDA_SHIM_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CUDA_SHIM_CXX) $(CUDA_SHIM_SANITIZE) -pthread -shared -Wl,-z,defs -o $@ $^ $(CUDA_SHIM_LIBS)

.PHONY: cuda-shim check-cuda-shim check-cuda
cuda-shim: $(CUDA_SHIM)/libkedge-cuda-shim.so ## the CUDA plugin for a machine without a device (tests/cuda_shim)
check-cuda-shim: $(CUDA_SHIM_TESTS) ## the shim's own tests
	@tests/support/run-unit $(CUDA_SHIM_TESTS)

# check_gpu on the shim: with errors injected, as it is, then with threads and blocks in shuffled orders.
SUITES += check-cuda
CUDA_SHIM_SEEDS ?= 1 2
check-cuda: check-cuda-shim $(CUDA_SHIM)/libkedge-cuda-shim.so $(BUILD)/tests/gpu/check_gpu $(BUILD)/kedge ## the CUDA plugin's kernels on the processor, against the reference
	@status=0; tests/cuda_shim/check_errors $(CUDA_SHIM)/libkedge-cuda-shim.so $(BUILD)/tests/gpu/check_gpu || status=1; \
	  tests/cuda_shim/check_train $(CUDA_SHIM)/libkedge-cuda-shim.so $(BUILD)/kedge || status=1; for seed in 0 $(CUDA_SHIM_SEEDS); do echo "CUDA_SHIM_SEED=$$seed"; \
	  CUDA_SHIM_SEED=$$seed KEDGE_CUDA_PLUGIN=$(CUDA_SHIM)/libkedge-cuda-shim.so timeout 600 $(BUILD)/tests/gpu/check_gpu \
	    $$([ $$seed = 0 ] || echo -limits) || status=1; done; exit $$status

# With a thread of the system for each CUDA thread, small shapes, under ThreadSanitizer: what a missing barrier leaves to
# chance is a data race. By gcc, whose runtime can be loaded before a program that was built without it.
SUITES += check-cuda-tsan
CUDA_SHIM_THREADED := $(CUDA_SHIM)/tests/test_races $(CUDA_SHIM)/tests/test_kernels
CUDA_SHIM_THREADED_OPERATORS ?= Softmax LayerNormalization BatchNormalization GroupNormalization ReduceSum ReduceMax Add Gather
.PHONY: check-cuda-tsan check-cuda-threaded check-cuda-asan
check-cuda-tsan: ## kernels and plugin with real threads, ThreadSanitizer
	@$(MAKE) --no-print-directory CUDA_SHIM=$(BUILD)/cuda-shim-tsan CUDA_SHIM_CXX="$(CXX)" \
	  CUDA_SHIM_SANITIZE="-fsanitize=thread -DCUDA_SHIM_THREADS" check-cuda-threaded
check-cuda-threaded: $(CUDA_SHIM_THREADED) $(CUDA_SHIM)/libkedge-cuda-shim.so $(BUILD)/tests/gpu/check_gpu
	@tests/support/run-unit $(CUDA_SHIM_THREADED)
	@LD_PRELOAD=$$($(CUDA_SHIM_CXX) -print-file-name=libtsan.so) KEDGE_CUDA_PLUGIN=$(CUDA_SHIM)/libkedge-cuda-shim.so \
	  timeout 600 $(BUILD)/tests/gpu/check_gpu $(CUDA_SHIM_THREADED_OPERATORS)

check-cuda-asan: ## the shim's own tests with AddressSanitizer, which also sees reads beside allocations
	@$(MAKE) --no-print-directory CUDA_SHIM=$(BUILD)/cuda-shim-asan \
	  CUDA_SHIM_SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=undefined" check-cuda-shim
