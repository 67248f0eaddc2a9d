# make demo   the whole road on the embedded corpus, set-up included
# make test   the quick tests, set-up included
# make ci     what must hold before a change lands, in a fresh environment
#
# VENV=…        where the environment lives (default .venv)
# PYTHON=…      the interpreter to make it from (default: the first of 3.11, 3.12, 3.13 found)
# EXTRAS=…      extras to install (default: export,metrics,rooms,tensorboard,dask,dev)
# TORCH_ARGS=…  more arguments for the installation of torch, e.g. an index of CPU builds
VENV ?= .venv
RUNS ?= runs/demo
export PYTHON TORCH_ARGS

# One thread-pool per process: pools of several processes on the same cores wait for each other.
PYTEST = OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} "$(VENV)/bin/python" -m pytest

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint types format ci clean

help:
	@sed -n 's/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST)) | head -n 8

# Returns at once when the environment already is what pyproject.toml and constraints.txt ask for.
setup:
	@.ci/bootstrap "$(VENV)" $(EXTRAS)

demo: setup
	@"$(VENV)/bin/sordino" demo -o "$(RUNS)"

test: setup
	@$(PYTEST) -q -m "not slow"

test-all: setup
	@$(PYTEST) -q

lint: setup
	@"$(VENV)/bin/ruff" check .
	@"$(VENV)/bin/ruff" format --check .

types: setup
	@"$(VENV)/bin/mypy"

format: setup
	@"$(VENV)/bin/ruff" check --fix .
	@"$(VENV)/bin/ruff" format .

ci:
	@.ci/run

# Leaves runs/ alone: what was trained there may have taken hours.
clean:
	[ ! -f "$(VENV)/pyvenv.cfg" ] || rm -rf "$(VENV)"
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
