# Two commands: `make demo` shows the main job, `make test` passes the tests. Both make .venv first if it is not there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow check bench install clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: install
	@if [ -d demo/data/images ]; then rm -rf demo; fi
	$(BIN)/cvkit demo --out demo

# Two processes of one thread each: quicker than one of two, and no more than two cores.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope

# The tests that take minutes: kills and restarts, long streams, damaged files, large networks.
test-slow: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope -m slow

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Compares cvkit with its peers on this processor, and writes bench.md. It takes most of an hour on an idle machine.
bench: install
	$(BIN)/python benchmarks/bench.py

clean:
	rm -rf $(VENV) demo
