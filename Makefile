# One door to everything. Each target sets up what it needs; a new machine needs Python 3.11+ and make.
#   make study   set up, fetch CIFAR-10, run `undertow study quick`, end with the report's path
#   make check   formatting, lint, types, import rules, documentation
#   make test    the tests (make test-slow adds those that take minutes)
#   make bench   the benchmarks, as tables of ratios
#   make docs    pages that are generated from the code

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH := $(shell sed -n 's/^torch==//p' requirements/torch.txt)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
INPUTS ?=
OUT ?= runs/quick
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 4 ? n : 4)))

.DEFAULT_GOAL := help
.PHONY: help study check test test-slow bench docs lock clean

help:
	@sed -n 's/^# *//p' Makefile | head -6

# torch comes first, at its pinned version: on its own it may be a much smaller CPU build.
$(VENV)/base: requirements/torch.txt requirements/base.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements/torch.txt
	$(PIP) -r requirements/base.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/test: $(VENV)/base requirements/test.txt
	$(PIP) -r requirements/test.txt
	$(PIP) --no-deps -r requirements/peers.txt
	@touch $@

study: $(VENV)/base
	$(BIN)/undertow data fetch cifar10
	$(BIN)/undertow study quick --workers $(WORKERS) --out $(OUT) $(if $(INPUTS),--inputs $(INPUTS))

check: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/build.py --check

# Two workers of one thread each: more threads would only wait for each other.
test: $(VENV)/test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(VENV)/test
	$(BIN)/python -m pytest -m "slow or cluster"

bench: $(VENV)/test
	$(BIN)/python -m benchmarks

docs: $(VENV)/test
	$(BIN)/python docs/build.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
