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

# The PyTorch models are committed. This makes them anew, in the virtual environment of `make bench-learn` (5 GB), and says
# which differ; REPLACE=1 puts the new ones in their place.
FIXTURE_PYTHON = PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 $(abspath $(BUILD))/torch-venv/bin/python
FIXTURES := tests/fixtures/onnx
.PHONY: fixtures
fixtures: $(BUILD)/torch-venv/complete ## the committed PyTorch models, made anew and compared (REPLACE=1: replaced)
	rm -rf $(BUILD)/fixtures
	mkdir -p $(BUILD)/fixtures/onnx $(BUILD)/fixtures/models
	cd $(BUILD)/fixtures/onnx && $(FIXTURE_PYTHON) $(abspath $(FIXTURES))/make_fixtures.py >>../log 2>&1
	cd $(BUILD)/fixtures/onnx && $(FIXTURE_PYTHON) $(abspath $(FIXTURES))/make_image_fixtures.py >>../log 2>&1
	cd $(BUILD)/fixtures/models && $(FIXTURE_PYTHON) $(abspath tests/models/fixtures)/make_models.py >>../log 2>&1
	$(FIXTURE_PYTHON) $(FIXTURES)/compare.py $(FIXTURES) $(BUILD)/fixtures/onnx tests/models/fixtures $(BUILD)/fixtures/models
	$(if $(REPLACE),cp $(BUILD)/fixtures/onnx/* $(FIXTURES) && cp $(BUILD)/fixtures/models/* tests/models/fixtures)
