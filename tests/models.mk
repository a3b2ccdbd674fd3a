# Models of the world: what scikit-learn, XGBoost and PyTorch export is imported, run, trained and exported again.
.DEFAULT_GOAL := all
$(BUILD)/models-venv/complete: tests/models/requirements.txt
	python3 -m venv $(@D)
	$(@D)/bin/pip install -q --no-deps -r $<
	@touch $@

$(BUILD)/tests/models/model_tool: $(BUILD)/tests/models/model_tool.c.o $(BUILD)/libkedge-pipeline.a \
                                  $(BUILD)/libkedge-registry.a $(BUILD)/libkedge-onnx.a $(BUILD)/libkedge-drift.a
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

SUITES += check-models
.PHONY: check-models
check-models: $(BUILD)/models-venv/complete $(BUILD)/tests/models/model_tool $(BUILD)/kedge ## models of scikit-learn, XGBoost and PyTorch beside ONNX Runtime
	PYTHONDONTWRITEBYTECODE=1 $(BUILD)/models-venv/bin/python tests/models/matrix.py $(BUILD)

# The PyTorch models are committed; this makes them anew, in the virtual environment of `make bench-learn` (5 GB).
.PHONY: fixtures
fixtures: $(BUILD)/torch-venv/complete ## the committed PyTorch models, made anew
	cd tests/fixtures/onnx && PYTHONDONTWRITEBYTECODE=1 $(abspath $(BUILD))/torch-venv/bin/python make_fixtures.py
	cd tests/fixtures/onnx && PYTHONDONTWRITEBYTECODE=1 $(abspath $(BUILD))/torch-venv/bin/python make_image_fixtures.py
	PYTHONDONTWRITEBYTECODE=1 $(BUILD)/torch-venv/bin/python tests/models/fixtures/make_models.py
