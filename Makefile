# Two commands do everything on a fresh machine: `make demo` and `make test`. Both set up .venv by themselves.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: demo test check bench
demo: $(VENV)/ready
	$(BIN)/breakfix train cycle --recipe demo

test: $(VENV)/ready
	$(BIN)/pytest -m "slow or not slow"

check: $(VENV)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/pytest

bench: $(VENV)/ready
	$(BIN)/breakfix bench

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
