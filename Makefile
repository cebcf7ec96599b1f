# Each target creates .venv if it is missing; `constraints.txt` pins the tested versions.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: train test test-of fast check proof bench docs

$(BIN)/etude: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

train: $(BIN)/etude
	$(BIN)/etude train

test: $(BIN)/etude
	$(BIN)/python -m pytest -n 2

test-of: $(BIN)/etude  # the tests of one module: make test-of FILE=src/etude/objective/loss.py
	$(BIN)/python tests/support/tests_of.py $(FILE)

fast: $(BIN)/etude
	$(BIN)/python -m pytest -n 2 -m "not slow"

check: $(BIN)/etude
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: $(BIN)/etude
	$(BIN)/python -m etude.cli.pages.catalogue
	$(BIN)/python tests/support/rooms.py

bench: $(BIN)/etude
	for shape in nano tiny base; do $(BIN)/python bench/training.py $$shape; done

proof: $(BIN)/etude
	$(BIN)/python bench/proof.py
