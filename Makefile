# The two commands of this project are `make demo` and `make test`; both build .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
DATASET ?= digits
# Compilation runs on one core each: one worker per core. Modules stay together, they share compiled programs, and keep
# their order: those with few tests are the longest.
PYTEST_OPTIONS ?= -n auto --dist loadfile --no-loadscope-reorder
# Most of the time is compilation: the quick suite compiles with fewer optimisations, `test-all` as users do.
QUICK := --xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1

.PHONY: demo test test-all doctest lint format docs dist-test lock clean

demo: $(VENV)/installed
	$(BIN)/python -m experiments.compare --dataset $(DATASET)
	$(BIN)/python -m experiments.polynomial --small
	$(BIN)/python -m experiments.bottleneck --small
	$(BIN)/python -m experiments.local --small
	$(BIN)/python -m experiments.unet_variants --small
	$(BIN)/python -m experiments.probing --small

test: $(VENV)/installed
	XLA_FLAGS="$(XLA_FLAGS) $(QUICK)" $(BIN)/python -m pytest -m "not slow" $(PYTEST_OPTIONS)
	XLA_FLAGS="$(XLA_FLAGS) $(QUICK)" $(MAKE) doctest

test-all: $(VENV)/installed
	$(BIN)/python -m pytest $(PYTEST_OPTIONS)
	$(MAKE) doctest

# The examples in docstrings, as users run them: in float32.
doctest: $(VENV)/installed
	$(BIN)/python -m pytest -q --doctest-modules jaxcreativity $(PYTEST_OPTIONS)

# The documentation site, warnings as errors; without a network once everything is installed.
docs: $(VENV)/docs
	$(BIN)/python -m docs.build

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Wheel and source archive, installed as a user installs them: a fresh environment, outside the repository.
dist-test: $(VENV)/installed
	rm -rf dist
	$(BIN)/uv build --quiet
	$(BIN)/python tests/dist_smoke.py dist

# Resolves the bounds of pyproject.toml anew, for every supported Python at once.
lock: $(VENV)/installed
	$(BIN)/uv pip compile --universal --python-version 3.11 --extra dev --no-header --no-annotate --upgrade \
		--output-file requirements.lock pyproject.toml
	$(BIN)/uv pip compile --universal --python-version 3.11 --extra docs --no-header --no-annotate \
		--constraint requirements.lock --output-file docs/requirements.lock pyproject.toml

clean:
	rm -rf $(VENV)

# requirements.lock pins every dependency; uv installs it in a quarter of the time that pip takes.
$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jaxcreativity needs Python 3.11 or newer; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --python $(BIN)/python --requirements requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --editable .
	touch $@

$(VENV)/docs: $(VENV)/installed docs/requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --requirements docs/requirements.lock
	touch $@
