# make train and make test do all the set-up on a machine that has only Python 3.11+ and make.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal

.PHONY: help train test test-all lint format docs pretrain bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

train: .venv/installed  ## fine-tune the bundled model, and print its accuracy before and after
	$(BIN)/python -m train.ppo

pretrain: .venv/installed  ## make the bundled model again
	$(BIN)/python -m train.pretrain

bench: .venv/installed  ## speed against stock SB3, transformers and the machine's limits
	$(BIN)/python -m benchmarks

test: .venv/installed  ## the tests, but for the slow ones
	$(PYTEST) -m "not slow"

test-all: .venv/installed  ## all tests, with line coverage of the four packages
	$(PYTEST) --cov --cov-report=term

lint: .venv/installed  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/installed  ## the documentation as a site, in build/site; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

format: .venv/installed  ## put the code into the form that make lint wants
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs,experiments]'
	touch $@

clean:  ## remove the environment and what was built
	rm -rf .venv build
