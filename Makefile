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
QUICK = XLA_FLAGS="$(XLA_FLAGS) $$($(BIN)/python -m tests.quick)"

.PHONY: demo test test-all doctest lint format docs dist-test record results lock clean

demo: $(VENV)/installed
	$(BIN)/python -m experiments.compare --dataset $(DATASET)
	$(BIN)/python -m experiments.polynomial --small
	$(BIN)/python -m experiments.bottleneck --small
	$(BIN)/python -m experiments.local --small
	$(BIN)/python -m experiments.unet_variants --small
	$(BIN)/python -m experiments.probing --small

test: $(VENV)/installed
	$(QUICK) $(BIN)/python -m pytest -m "not slow" $(PYTEST_OPTIONS)
	$(QUICK) $(MAKE) doctest

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

# All that README and docs show, measured anew (hours on two cores), each folder resumed where it was; data from TFDS.
RECORD := $(BIN)/python -m experiments
RESNET := --output results --name local-mnist-resnet
SOFT := --dataset digits --image-size 8 --padding circular --soft-window --train-steps 1500 --num-pairs 64 \
	--output results --name local-digits-soft-window
MNIST14 := --dataset mnist --image-size 14 --num-images 4096 --output results --name bottleneck-mnist
CAPACITY := --parts capacity --dataset mnist --image-size 8 --output results --name bottleneck-mnist-capacity
POWERS := 16 32 64 128 256 512 1024 2048
VARIANTS := baseline "no skips" "one scale" "max pooling" "kernel 1" circular "attention all" "group norm" quadratic \
	identity coordinates "no time" narrow linear

record: $(VENV)/installed
	$(RECORD).compare --output results
	for seed in 1 2; do $(RECORD).compare --seed $$seed --output results --name compare-digits-seed$$seed || exit; done
	$(RECORD).polynomial --also mnist --output results
	$(RECORD).probing --output results
	$(RECORD).local $(RESNET)
	for seed in 1 2; do $(RECORD).local --seed $$seed $(RESNET)-seed$$seed || exit; done
	$(RECORD).local $(SOFT)
	for seed in 1 2; do $(RECORD).local --seed $$seed $(SOFT)-seed$$seed || exit; done
	$(RECORD).bottleneck --parts codes encoder rank $(MNIST14)
	for seed in 1 2; do \
		$(RECORD).bottleneck --seed $$seed --parts codes --code-sizes 2 $(MNIST14)-seed$$seed || exit; done
	$(RECORD).bottleneck $(CAPACITY) --activations softmax --counts $(POWERS) --widths $(POWERS)
	$(RECORD).bottleneck $(CAPACITY)-long --activations softmax --counts 512 --widths 512 --capacity-steps 24000
	$(RECORD).bottleneck $(CAPACITY)-silu --activations silu
	$(RECORD).unet_variants --variants $(VARIANTS) --train-steps 1000 --batch-size 4 --counts 16 64 256 1024 --output results
	$(RECORD).unet_variants --parts sweep --variants baseline "no skips" --dataset mnist --image-size 8 \
		--num-images 16384 --train-steps 1000 --batch-size 4 --output results --name unet-variants-mnist-sweep
	$(BIN)/python -m benchmarks.gradients --record gradients
	$(BIN)/python -m benchmarks.training --rounds 15 --record training
	$(BIN)/python -m benchmarks.local --batches 1 --repetitions 3 --record local
	$(BIN)/python -m benchmarks.local --num-images 50000 --patch-sizes 7 --batches 1 --boundaries interior \
		--repetitions 1 --record local-all-images
	$(BIN)/python -m benchmarks.posterior --record posterior
	$(BIN)/python -m benchmarks.indexed --record indexed
	$(BIN)/python -m benchmarks.demo
	$(MAKE) results

# The overview of results/, and the numbers in README and docs, from what results/ holds.
results: $(VENV)/installed
	$(BIN)/python -m experiments.record
	$(BIN)/python -m docs.claims --write

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
