# make loop DATA=F.csv LABEL=COLUMN …: the whole loop on a file (tests/loop/README.md).
LOOP_SETTINGS := DATA LABEL WARMUP DELAY STORE BROKER SENSITIVE EXCLUDE SHUFFLE PARTITIONS SEED OUT GATE_DISPARATE_IMPACT MODEL \
                 KAFKA_PORT WEBHOOK HTTP_PORT PANE DUMP THEN
.PHONY: loop
loop: all ## the whole loop on a file: DATA=F.csv LABEL=COLUMN [STORE=postgres] [BROKER=kafka] …
	@BUILD=$(BUILD) tests/loop/run $(foreach s,$(LOOP_SETTINGS),$(if $($(s)),$(s)='$($(s))'))
