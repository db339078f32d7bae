# Two commands do everything on a fresh machine: `make demo` and `make test`. Both set up .venv by themselves.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

.PHONY: demo test check bench test-arm64 test-swift
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

test-arm64: $(VENV)/ready
	$(BIN)/breakfix eval arm64-setup
	BREAKFIX_ARM64=1 $(BIN)/pytest -m "slow or not slow" tests/eval/test_arm64.py tests/stories/test_arm64.py

# BREAKFIX_SWIFT names a compiler, e.g. "swiftc", or "chroot ROOT swiftc".
test-swift: $(VENV)/ready
	$(BIN)/pytest -m "slow or not slow" --numprocesses=0 tests/export/test_ios.py tests/export/ios

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
