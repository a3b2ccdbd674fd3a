# The daemon's front: HTTP, dashboard, man pages, completion.

$(BUILD)/tests/http/dashboard_server: $(BUILD)/tests/http/dashboard_server.c.o $(LIBRARIES)
	$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(LINK_LIBRARIES) -Wl,--end-group $(LDLIBS)

.PHONY: check-http
check-http: $(BUILD)/kedge $(BUILD)/tests/http/dashboard_server ## HTTP, metrics and dashboard against curl, promtool, Chromium
	BUILD=$(BUILD) tests/http/dashboard
	BUILD=$(BUILD) tests/http/documents
