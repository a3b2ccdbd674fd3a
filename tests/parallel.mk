# Training by several processes: the plugin, its tests, its speed.
.DEFAULT_GOAL := all
MPI_CFLAGS = $(shell pkg-config --cflags ompi-c)
MPI_LIBS = $(shell pkg-config --libs ompi-c)
$(BUILD)/pipeline/mpi/%.c.o: CFLAGS += -fPIC $(patsubst -I%,-isystem%,$(MPI_CFLAGS))
$(BUILD)/libkedge-mpi.so: $(BUILD)/pipeline/mpi/plugin.c.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(SANITIZE) -shared -Wl,-z,defs -o $@ $< $(MPI_LIBS)

.PHONY: mpi
mpi: $(BUILD)/libkedge-mpi.so ## the MPI plugin: training by several processes (needs libopenmpi-dev)
