# `make run` trains the default network, `make test` runs every test; both set up .venv once.
PYTHON ?= python3
BIN := .venv/bin
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/xla

.PHONY: run test lint setup clean

run: .venv/ready
	$(BIN)/jaxml run examples/digits_mlp.py

test: .venv/ready
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test,lint]"
	touch $@

clean:
	rm -rf .venv .cache
