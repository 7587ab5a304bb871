# What a newcomer types. Needs Python >= 3.11 (with venv) and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help run test lint bench prove stall clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

run: $(VENV)/.ready ## serve a test stream: rtmp://127.0.0.1:1935/live/demo, console at http://127.0.0.1:8080/
	$(BIN)/rtmpd demo

test: $(VENV)/.ready ## the whole test suite
	$(BIN)/pytest

lint: $(VENV)/.ready ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.ready ## whole-server figures against peers (bench/README.md)
	$(BIN)/python -m bench

prove: $(VENV)/.ready ## the long proofs at full count: kill tests, stalls, soaks, a search by the properties
	RTMPD_PROVE=1 $(BIN)/pytest --timeout=1800 tests/e2e tests/properties

stall: $(VENV)/.ready ## the tests on a machine that stalls: their processes stop and go on at random (about an hour)
	$(BIN)/python -m tests.helpers.stalls -- $(BIN)/pytest --timeout=600

clean: ## remove what the other commands made
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.ready: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "rtmpd needs Python >= 3.11; there is no $(PYTHON)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rtmpd needs Python >= 3.11; $(PYTHON) is older (make PYTHON=python3.12 ...)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "rtmpd needs Python's venv module (Debian: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	PYTHONWARNINGS='ignore:Editable installation' $(BIN)/pip install --quiet --editable . --group dev
	@touch $@
