# What needs a CUDA device, or stands in for one. check_gpu links neither oneDNN nor XGBoost: it runs on any machine.
.DEFAULT_GOAL := all
GPU := $(BUILD)/tests/gpu
GPU_LIBRARIES := $(BUILD)/libkedge-pipeline.a $(BUILD)/libkedge-onnx.a $(BUILD)/libkedge-registry.a $(BUILD)/libkedge-drift.a
GPU_SHARED := $(GPU)/networks.c.o $(GPU)/without_onednn.c.o
GPU_LIBS = $(shell pkg-config --libs glib-2.0 libcrypto) -lm -ldl

$(GPU)/check_gpu: $(GPU)/check_gpu.c.o $(GPU)/check.c.o $(GPU)/trainings.c.o $(GPU)/limits.c.o $(GPU)/wide.c.o $(GPU_SHARED) $(GPU_LIBRARIES)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(GPU_LIBS)
$(GPU)/bench_gpu: $(GPU)/bench_gpu.c.o $(GPU)/profile.c.o $(GPU_SHARED) $(GPU_LIBRARIES)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(GPU_LIBS)
$(GPU)/check_sums: $(GPU)/check_sums.c.o $(GPU)/check.c.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(GPU_LIBS)

# Unit tests with the networks of the checks on a device.
$(BUILD)/tests/unit/graph_micro_test $(BUILD)/tests/unit/graph_precision_test: $(GPU)/networks.c.o

# The plugin by NVIDIA's compiler, which comes as Python wheels (1.6 GB): nothing is installed on the machine.
CUDA_TOOLKIT ?= $(BUILD)/cuda-toolkit
CUDA_WHEELS := nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-cccl==13.0.85 \
               nvidia-cuda-runtime==13.0.96 nvidia-cublas==13.1.0.3 nvidia-cudnn-cu13==9.14.0.64 \
               nvidia-cuda-nvrtc==13.0.88 nvidia-nvjitlink==13.0.88
$(CUDA_TOOLKIT)/complete: tests/gpu/toolkit
	tests/gpu/toolkit $(@D) $(CUDA_WHEELS)
	@touch $@

# Machine code for 7.5, 8.0 and 9.0, and the intermediate form of the last for what comes after it.
CUDA_ARCHITECTURES := 75 80 90
NVCC_FLAGS := -std=c++17 -O3 -Werror all-warnings -Xcompiler=-Wall,-Wextra,-Werror,-fPIC,-fvisibility=hidden \
              $(foreach a,$(CUDA_ARCHITECTURES),-gencode arch=compute_$(a),code=sm_$(a)) -gencode arch=compute_90,code=compute_90
CUDA_OBJECTS := $(patsubst pipeline/cuda/%.cu,$(BUILD)/cuda/%.o,$(wildcard pipeline/cuda/*.cu))
$(BUILD)/cuda/%.o: pipeline/cuda/%.cu $(wildcard pipeline/cuda/device*.h) pipeline/cuda/launch.h $(CUDA_TOOLKIT)/complete
	@mkdir -p $(@D)
	$(call say,NVCC,$<)
	$(Q)$(CUDA_TOOLKIT)/nvidia/cu13/bin/nvcc $(NVCC_FLAGS) -I. -I$(CUDA_TOOLKIT)/nvidia/cudnn/include -c $< -o $@
$(BUILD)/libkedge-cuda.so: $(CUDA_OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CUDA_TOOLKIT)/nvidia/cu13/bin/nvcc -shared -o $@ $^ -L$(CUDA_TOOLKIT)/nvidia/cu13/lib \
	  -L$(CUDA_TOOLKIT)/nvidia/cudnn/lib -lcublas -lcudnn

# Sums over processes by NCCL: its header comes as one more wheel, its library is loaded at run time.
NCCL_WHEEL := nvidia-nccl-cu13==2.27.7
NCCL_TOOLKIT ?= $(BUILD)/nccl-toolkit
$(NCCL_TOOLKIT)/complete:
	python3 -m pip install -q --no-deps --disable-pip-version-check --root-user-action=ignore --target $(@D) $(NCCL_WHEEL)
	@touch $@
$(BUILD)/libkedge-nccl.so: pipeline/cuda/nccl.c pipeline/cuda/nccl_table.h $(CUDA_TOOLKIT)/complete $(NCCL_TOOLKIT)/complete
	$(call say,CC,$<)
	$(Q)$(CC) -std=c17 $(CWARNINGS) -Werror $(OPTIMISE) -D_GNU_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIC -fvisibility=hidden -I. \
	  -isystem $(CUDA_TOOLKIT)/nvidia/cu13/include -isystem $(NCCL_TOOLKIT)/nvidia/nccl/include -shared -Wl,-z,defs -o $@ $< \
	  -L$(CUDA_TOOLKIT)/nvidia/cu13/lib -lcudart_static -ldl -lrt -lpthread

SUITES += check-nccl
check-nccl: $(BUILD)/kedge $(BUILD)/libkedge-mpi.so nccl ## the NCCL plugin: symbols, what two processes say where something is missing
	tests/gpu/check_nccl $(BUILD)/kedge $(BUILD)/libkedge-nccl.so $(NCCL_TOOLKIT)/nvidia/nccl/lib $(BUILD)/check-nccl

.PHONY: nccl check-nccl cuda check-gpu check-cuda-build gpu-bundle
nccl: $(BUILD)/libkedge-nccl.so ## the NCCL plugin: gradients of several processes summed from device to device
cuda: $(BUILD)/libkedge-cuda.so ## the CUDA plugin, compiled for devices from 7.5 on; the compiler comes into the build folder
check-gpu: $(GPU)/check_gpu $(GPU)/check_sums $(BUILD)/kedge $(ONNX_PYTHON) cuda nccl ## every operator and training on the CUDA device of this machine against the reference
	LD_LIBRARY_PATH=$(CUDA_TOOLKIT)/nvidia/cu13/lib:$(CUDA_TOOLKIT)/nvidia/cudnn/lib KEDGE_CUDA_PLUGIN=$(abspath $(BUILD)/libkedge-cuda.so) $(GPU)/check_gpu
	LD_LIBRARY_PATH=$(CUDA_TOOLKIT)/nvidia/cu13/lib:$(NCCL_TOOLKIT)/nvidia/nccl/lib $(GPU)/check_sums $(BUILD)/libkedge-nccl.so
	LD_LIBRARY_PATH=$(CUDA_TOOLKIT)/nvidia/cu13/lib:$(CUDA_TOOLKIT)/nvidia/cudnn/lib KEDGE_CUDA_PLUGIN=$(abspath $(BUILD)/libkedge-cuda.so) \
	  $(ONNX_PYTHON) tests/gpu/check_kedge $(BUILD)/kedge tests/fixtures/onnx/image_lenet.onnx $(BUILD)/check-kedge-gpu

SUITES += check-cuda-build
check-cuda-build: $(GPU)/check_gpu cuda ## the plugin by nvcc: architectures, symbols, what it says without a device
	tests/gpu/check_build $(BUILD)/libkedge-cuda.so $(GPU)/check_gpu $(CUDA_TOOLKIT)

# A folder to carry to a machine with a device: programs, plugin, the libraries that a bare system may lack.
GPU_BUNDLE ?= .gpu
$(GPU)/bench_cudnn: tests/gpu/bench_cudnn.cu $(CUDA_TOOLKIT)/complete
	$(call say,NVCC,$<)
	$(Q)$(CUDA_TOOLKIT)/nvidia/cu13/bin/nvcc $(NVCC_FLAGS) -I$(CUDA_TOOLKIT)/nvidia/cudnn/include -o $@ $< -L$(CUDA_TOOLKIT)/nvidia/cudnn/lib -lcudnn
GPU_CARRIED := $(GPU)/check_gpu $(GPU)/check_sums $(GPU)/bench_gpu $(GPU)/bench_cudnn tests/gpu/check_kedge tests/gpu/bench_torch.py tests/gpu/run.sh \
               tests/fixtures/onnx/image_lenet.onnx
gpu-bundle: $(GPU_CARRIED) $(BUILD)/kedge cuda nccl ## .gpu/: run.sh there checks and measures
	tests/gpu/bundle $(GPU_BUNDLE) $(BUILD)/libkedge-cuda.so $(BUILD)/libkedge-nccl.so $(BUILD)/kedge $(GPU_CARRIED)
