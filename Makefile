# The only commands of this project. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

REPO ?= .
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3)
READY := $(VENV)/.ready
CODE := src tests benchmarks scripts docs/examples worker.py

# Set up when a pin or the project file is newer than the last set-up; else this costs nothing.
$(READY): pyproject.toml $(wildcard requirements-*.txt)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 …")'
	@echo "setting up $(VENV) (once, about a minute plus the download) …" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: \
		-r requirements-edge.txt -r requirements-cloud.txt -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: help setup run test test-long test-live lint format bench check clean
setup: $(READY)  ## set up the virtual environment
	@:

run: setup  ## index REPO (a folder or an https URL; default: this one) and show what was found
	@$(BIN)/alexandria index "$(REPO)" $(ARGS)

test: lint  ## every check: linters, types, layers, tests
	@$(BIN)/python -m pytest $(ARGS)

test-long: setup  ## the long form of the property and crash tests
	@$(BIN)/python -m pytest -m long $(ARGS)

test-live: setup  ## the suites over the accounts that QDRANT_URL, DATABASE_URL and UPSTASH_REDIS_REST_URL name
	@$(BIN)/python -m pytest -m live tests/live $(ARGS) || test $$? -eq 5  # 5: no account, all skipped

lint: setup  ## style, types, layers, pins, generated pages
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy $(CODE)
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/lock.py --check
	@$(BIN)/python scripts/cli_reference.py --check
	@$(BIN)/python scripts/settings_reference.py --check

format: setup  ## format the code
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

bench: setup  ## list the benchmarks
	@for file in benchmarks/[a-z]*.py; do echo "$(BIN)/python $$file --help"; done

check: test  ## all, as CI runs it

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

help:
	@awk -F '##' '/^[a-z-]+:.*##/ { split($$1, t, ":"); printf "  make %-10s %s\n", t[1], $$2 }' $(MAKEFILE_LIST)
