# make setup, then everything else works; every target uses the environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXPERIMENT := experiments/hyperparameters_sweep
ARGS ?=
FAST := $(addprefix tests/,analysis config contract display docs engine executors/local programs recording reports space test_runs.py)

.DEFAULT_GOAL := help
.PHONY: help setup demo sweep study test test-fast test-browser test-engines test-gpu soak lint build docs tutorial bench clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(VENV)/.ready ## make the environment in .venv, everything pinned

$(VENV)/.ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("sweepline needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.5"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -r requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	$(BIN)/python -m compileall -q src
	$(BIN)/python -c 'from sweepline.reports.vega import script; script()'
	touch $@

demo: setup ## a small sweep on data that needs no download; ARGS="--fresh --start cold" without warm starts
	$(BIN)/python $(EXPERIMENT)/orchestrate_sweep.py $(EXPERIMENT)/cfg/demo.yaml $(ARGS)

sweep: setup ## the MNIST sweep; ARGS="--count 8 --set epochs=1" for a part of it
	$(BIN)/python $(EXPERIMENT)/orchestrate_sweep.py $(ARGS)

study: setup ## batch size x step size on MNIST, 60 runs; ends by naming its report (20 minutes on two cores)
	$(BIN)/python $(EXPERIMENT)/orchestrate_sweep.py $(EXPERIMENT)/cfg/batch_and_step.yaml $(ARGS)

test: setup lint ## linters, types, import contract, and all tests in parallel
	$(BIN)/python -m pytest $(ARGS)

test-fast: setup ## the inner loop, in under a minute: no linters, no real sweeps, no torch
	$(BIN)/python -m pytest -m "not sweep" $(FAST) $(ARGS)

test-browser: setup ## the report in a real browser (needs chromium)
	$(BIN)/python -m pytest -m browser tests/browser $(ARGS)

test-engines: setup ## sweeps on a throw-away Slurm cluster (needs root, slurm-wlm and munge) and on Ray
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements-engines.txt || echo "Ray could not be installed: its tests are skipped"
	$(BIN)/python -m pytest -m "engines and not ray" -n 2 --dist loadfile tests/engines tests/executors/test_contract.py $(ARGS)
	$(BIN)/python -m pytest -m "engines and ray" -n 0 tests/engines tests/executors/test_contract.py $(ARGS)

test-gpu: setup ## what only a GPU can show (needs an NVIDIA GPU)
	$(BIN)/python -m pytest -m gpu -n 0 tests/gpu $(ARGS)

soak: setup ## the whole of the reliability tests, by hand: kills, full disks, fuzzing, 20,000 runs (about half an hour)
	SWEEPLINE_SOAK=1 $(BIN)/python -m pytest tests/reliability tests/training/test_checkpoints.py --timeout 3600 $(ARGS)

lint: setup ## ruff, mypy, import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

build: setup ## the wheel in dist/, tried where nothing else is installed, and as a tool of its own (half a minute)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/try_wheel.py

docs: setup $(VENV)/.docs-ready ## the documentation as a site in site/, every link checked; no network once it is installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

$(VENV)/.docs-ready: requirements-docs.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements-docs.txt
	touch $@

tutorial: setup ## run the commands of docs/tutorial.md again, and write down what they print
	$(BIN)/python tools/tutorial.py --write

bench: setup ## us beside other tools, and the figures of docs/benchmarks.md (about an hour; ARGS="noop" for a part)
	$(BIN)/python -m benchmarks $(ARGS) --write docs/benchmarks.md

clean: ## remove the environment and caches; outputs stay
	rm -rf $(VENV) dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
