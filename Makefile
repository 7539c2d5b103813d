# One door to everything. Each target sets up what it needs; a new machine needs Python 3.11+ and make.
#   make study   set up, fetch CIFAR-10, run `undertow study quick`, end with the report's path
#   make check   formatting, lint, types, import rules, documentation
#   make test    the tests (make test-slow adds those that take minutes)
#   make bench   the benchmarks, as tables of ratios
#   make docs    the pages that are made from the code, and the site of all pages: docs/_build/html
#   make dist    wheel and sdist, checked, installed elsewhere and tried

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH := $(shell sed -n 's/^torch==//p' requirements/torch.txt)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
INPUTS ?=
OUT ?= runs/quick
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 4 ? n : 4)))

.DEFAULT_GOAL := help
.PHONY: help study check test test-slow bench docs notebooks dist clean

help:
	@sed -n 's/^# *//p' Makefile | head -7

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

$(VENV)/docs: $(VENV)/test requirements/docs.txt
	$(PIP) -r requirements/docs.txt
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

# Warnings are errors; nothing is fetched.
docs: $(VENV)/docs
	$(BIN)/python docs/build.py
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo docs/_build/html/index.html

# Runs the notebooks anew and stores what they put out.
notebooks: $(VENV)/docs
	$(BIN)/python docs/pages/notebooks.py

dist: $(VENV)/test
	$(PIP) -r requirements/dist.txt
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/python .ci/try_wheel.py dist

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
