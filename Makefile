# make run    installs into .venv, trains DRML on a small demo set and shows the result
# make test   installs the test needs and runs the tests
# make lint   formatting, lint and types
# make bench  times DRML beside oneDNN's own primitives
# make clean  removes what the above made

PYTHON ?= python3
VENV ?= .venv
DATA ?=
MINUTES ?= 2

BIN := $(VENV)/bin
SOURCES := $(shell find src python setup.py pyproject.toml CMakeLists.txt -type f \
             -not -name '*.so' -not -name '*.pyc' 2>/dev/null)

.PHONY: run test lint bench clean

run: $(VENV)/.demo
	$(BIN)/python -m drml.run demo runs/demo --minutes $(MINUTES) $(if $(DATA),--data $(DATA))

test: $(VENV)/.test
	$(BIN)/python -m pytest

lint: $(VENV)/.lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.h' '*.cpp')

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/bench_main_job.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.%: $(VENV)/bin/python $(SOURCES)
	$(BIN)/python -m pip install --quiet '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) build runs *.egg-info python/*.egg-info
