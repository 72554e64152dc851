# Every target does its own set-up; nothing but Python (3.11 or newer) and make has to be there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test soak lint bench docs dashboards format clean help

help:
	@echo "make demo    run a bot on a simulated exchange and look at what botobs makes of it"
	@echo "make test    run the test suite (under 5 minutes on two cores)"
	@echo "make lint    ruff and mypy --strict"
	@echo "make bench   measure botobs against its peers (about 9 minutes)"
	@echo "make soak    the long campaigns that 'make test' runs a sample of"
	@echo "make docs    build the documentation into docs/_build"
	@echo "make dashboards  write the dashboards' JSON and examples/stack anew"

demo: $(VENV)/.run
	@echo "== demo: a bot on a simulated exchange, 20 seconds; records go to ./data"
	@$(BIN)/botobs demo --seconds 20 --data-dir data

# hundreds of tests start a process of their own: compile what they import once, whatever the environment says
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.dev
	@$(BIN)/python -m compileall -q -j 2 botobs
	@echo "== test: the suite, on three processes: much of it is waiting for others"
	@$(BIN)/python -m pytest -q -n 3 --dist worksteal
	@echo "== test: the hot path once more, with nothing compiled"
	@BOTOBS_PURE=1 $(BIN)/python -m pytest -q -n 2 --ignore tests/stages/test_quick.py \
		tests/stages tests/sinks/test_spans.py tests/streams/test_streams_redact.py \
		tests/accounting/test_filling.py tests/accounting/test_ledger_index.py tests/accounting/test_ledger.py

soak: $(VENV)/.dev
	@echo "== soak: every campaign in full; figures at the end"
	@$(BIN)/python -m tests.soak

lint: $(VENV)/.dev
	@echo "== lint: ruff, then mypy"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.dev
	@echo "== bench: ratios, medians of several rounds; docs/performance.md says how to read them"
	@$(BIN)/python -m bench

docs: $(VENV)/.dev
	@echo "== docs: docs/_build/index.html"
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build

dashboards: $(VENV)/.dev
	@$(BIN)/python -m botobs.dashboards.source
	@$(BIN)/botobs dashboards export --force examples/stack

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "botobs needs Python 3.11 or newer; this is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 ..."; exit 1; }
	@echo "== set-up: a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "Python could not make a virtual environment (on Debian: apt-get install python3-venv)"; exit 1; }
	@touch $@

$(VENV)/.run: $(VENV)/.python pyproject.toml hatch_build.py botobs/_quick.c
	@echo "== set-up: installing botobs and what it needs to run (once, about half a minute)"
	@$(PIP) install -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml hatch_build.py botobs/_quick.c
	@echo "== set-up: installing botobs and its development tools (once, about a minute)"
	@$(PIP) install -e '.[dev]'
	@touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) docs/_build build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
