.DEFAULT_GOAL := all

# The daemon's front: HTTP, dashboard, man pages, completion.

# The assembler's .incbin is invisible to the compiler's list of dependencies.
$(BUILD)/daemon/dashboard.c.o: $(wildcard daemon/dashboard/*)

$(BUILD)/tests/http/dashboard_server: $(BUILD)/tests/http/dashboard_server.c.o $(foreach m,$(MODULES),$(BUILD)/libkedge-$(m).a)
	$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(LINK_LIBRARIES) -Wl,--end-group $(LDLIBS)

SUITES += check-http check-commands-postgres
.PHONY: check-http check-commands-postgres
check-http: $(BUILD)/kedge $(BUILD)/kedged $(BUILD)/tests/http/dashboard_server ## HTTP, metrics and dashboard against curl, promtool, Chromium
	BUILD=$(BUILD) tests/http/dashboard
	BUILD=$(BUILD) tests/http/documents
	BUILD=$(BUILD) tests/http/commands
	BUILD=$(BUILD) tests/http/kedged

check-commands-postgres: $(BUILD)/kedge ## the registry's commands on a private PostgreSQL
	@mkdir -p $(BUILD)/postgres-commands
	@set -e; uri=$$(tests/support/postgres start $(BUILD)/postgres-commands); \
	trap 'tests/support/postgres stop $(BUILD)/postgres-commands' EXIT; \
	BUILD=$(BUILD) KEDGE_TEST_STORE="$$uri" tests/http/commands

# Man pages and completion are made from the program's own tables; nothing generated is kept in the tree.
.PHONY: man
man: $(BUILD)/man/kedge.1 $(BUILD)/man/kedge.yaml.5 $(BUILD)/man/kedged.8 $(BUILD)/completion/kedge ## man pages and bash completion
$(BUILD)/man/kedge.1: $(BUILD)/kedge
	@mkdir -p $(@D)
	$(BUILD)/kedge help --man >$@.new && mv $@.new $@
$(BUILD)/man/kedge.yaml.5: deploy/man/kedge.yaml.5.in $(BUILD)/kedge
	@mkdir -p $(@D)
	$(BUILD)/kedge config document --format man >$@.options && sed -e '/^@OPTIONS@$$/{r $@.options' -e 'd}' $< >$@.new && mv $@.new $@
$(BUILD)/man/kedged.8: deploy/man/kedged.8
	@mkdir -p $(@D)
	cp $< $@
$(BUILD)/completion/kedge: $(BUILD)/kedge
	@mkdir -p $(@D)
	$(BUILD)/kedge completion >$@.new && mv $@.new $@
