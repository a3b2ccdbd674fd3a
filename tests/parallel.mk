# Training by several processes: the plugin, its tests, its speed.
.DEFAULT_GOAL := all
MPI_CFLAGS = $(shell pkg-config --cflags ompi-c)
MPI_LIBS = $(shell pkg-config --libs ompi-c)
$(BUILD)/pipeline/mpi/%.c.o: CFLAGS += -fPIC $(patsubst -I%,-isystem%,$(MPI_CFLAGS))
$(BUILD)/lint/gcc/pipeline/mpi/%.ok $(BUILD)/lint/clang/pipeline/mpi/%.ok: CFLAGS += $(patsubst -I%,-isystem%,$(MPI_CFLAGS))
$(BUILD)/libkedge-mpi.so: $(BUILD)/pipeline/mpi/plugin.c.o $(BUILD)/pipeline/mpi/shared_sum.c.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(SANITIZE) -shared -Wl,-z,defs -o $@ $^ $(MPI_LIBS)

.PHONY: mpi
mpi: $(BUILD)/libkedge-mpi.so ## the MPI plugin: training by several processes (needs libopenmpi-dev)

# Real processes: equal weights, killed ones, signals.
SUITES += check-parallel
.PHONY: check-parallel check-slurm bench-parallel
check-parallel: $(ONNX_PYTHON) $(BUILD)/kedge $(BUILD)/libkedge-mpi.so $(BUILD)/cuda-shim/libkedge-cuda-shim.so ## training by several processes ends where one process ends, also when one of them is killed
	PYTHONDONTWRITEBYTECODE=1 $(ONNX_PYTHON) tests/train/parallel $(BUILD)/kedge tests/fixtures/onnx $(BUILD)/train-parallel \
	  $(BUILD)/cuda-shim/libkedge-cuda-shim.so

SUITES += check-slurm
check-slurm: $(BUILD)/kedge $(BUILD)/libkedge-mpi.so ## a gang of 2 in a job of a real Slurm, also when one of them is killed
	tests/train/slurm $(BUILD)/kedge $(BUILD)/train-slurm

BENCHMARKS += bench-parallel
bench-parallel: $(BUILD)/kedge $(BUILD)/libkedge-mpi.so ## LeNet by two processes beside one, interleaved, as a ratio
	tests/bench/parallel $(BUILD)/kedge tests/fixtures/onnx/image_lenet.onnx $(BUILD)/bench-parallel
