# make loop DATA=F.csv LABEL=COLUMN …: the whole loop on a file (tests/loop/README.md).
LOOP_SETTINGS := DATA LABEL WARMUP DELAY STORE BROKER SENSITIVE EXCLUDE SHUFFLE PARTITIONS SEED OUT GATE_DISPARATE_IMPACT MODEL \
                 KAFKA_PORT WEBHOOK HTTP_PORT PANE DUMP THEN KAFKA TOPIC FIRST RATE BIAS_AUDIT MODE POLICY GATE
.PHONY: loop
loop: all ## the whole loop on a file: DATA=F.csv LABEL=COLUMN [STORE=postgres] [BROKER=kafka] …
	@BUILD=$(BUILD) tests/loop/run $(foreach s,$(LOOP_SETTINGS),$(if $($(s)),$(s)='$($(s))'))

# The short version of Elec2 with a change turned in; CI runs it on all four combinations of store and broker.
SUITES += check-loop
.PHONY: check-loop
check-loop: all $(BUILD)/tests/crash/labelled_log ## the loop on SQLite and PostgreSQL, embedded broker and Kafka: equal to the bit
	BUILD=$(BUILD) tests/loop/loop_test

# CSVs of every kind: labels as texts, 1/2, True/False; missing cells, quoted commas, constant and many columns, odd names.
SUITES += check-loop-csv
.PHONY: check-loop-csv
check-loop-csv: all ## the loop on CSVs of every kind
	BUILD=$(BUILD) tests/loop/csv_test

# Learning online: the same to the bit on both stores, replayed, and a turned world learnt.
SUITES += check-loop-mixture
.PHONY: check-loop-mixture
check-loop-mixture: all $(BUILD)/tests/crash/labelled_log ## the loop with retrain_mode mixture on SQLite and PostgreSQL
	BUILD=$(BUILD) tests/loop/mixture_test

# Chains of jobs: the same to the bit through kills of every stage, and what serves is in 8 bits.
SUITES += check-chain
.PHONY: check-chain
check-chain: all $(ONNX_PYTHON) $(BUILD)/tests/crash/labelled_log ## chains of jobs in the loop: retrain, harden, compress, attack, the gate; a kill in each stage
	BUILD=$(BUILD) PYTHON=$(ONNX_PYTHON) tests/loop/chain_test

# Retrainings shared out to two processes, and what happens without MPI.
SUITES += check-loop-gang
.PHONY: check-loop-gang
$(BUILD)/tests/loop/job_again: $(BUILD)/tests/loop/job_again.c.o $(LIBRARIES)
	$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(LINK_LIBRARIES) -Wl,--end-group $(LDLIBS)
check-loop-gang: all $(BUILD)/libkedge-mpi.so $(BUILD)/tests/loop/job_again ## the loop with policy.processes: two processes retrain, also cancelled and killed; one where there is no MPI
	BUILD=$(BUILD) tests/loop/gang_test

# A model that treats groups unlike each other is found by the bias audit, one that does not is left alone.
SUITES += check-loop-bias
.PHONY: check-loop-bias
check-loop-bias: all ## the bias audit through the loop, on COMPAS and on a fair stream
	BUILD=$(BUILD) tests/loop/bias_test
