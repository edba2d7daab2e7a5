# `make compare` and `make test` need nothing but Python 3.11: the first run sets up a virtual environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export TOKENIZERS_PARALLELISM := false

.PHONY: setup compare paper families notebooks bench test lint clean

setup: $(STAMP)

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

compare: setup  ## fine-tune the embedded MoE by every strategy and compare; ARGS="--quick" and the like are passed on
	$(BIN)/python -m esft_lightning compare $(ARGS)

paper: setup  ## every table and figure of the paper on the embedded MoE: hours, continues where it was stopped
	$(BIN)/python -m experiments.paper --allow-code-execution $(ARGS)

families: setup  ## check every family of Transformers' experts interface and write docs/families.md
	PYTHONPATH=tests $(BIN)/python tests/families/families_page.py

notebooks: setup  ## run the three notebooks and keep their outputs
	$(BIN)/python notebooks/run.py

bench: setup  ## speed and memory against alternatives and the floor → docs/benchmarks.md; nothing else should be at work
	$(BIN)/python -m benchmarks $(ARGS)

test: setup  ## run the tests, a process a core; ARGS="-k name" and the like are passed on
	$(BIN)/python -m pytest -n auto --dist loadscope $(ARGS)

lint: setup  ## format, style, the direction of imports and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/pyright --pythonpath $(BIN)/python

clean:  ## remove the environment and caches; runs stay
	rm -rf $(VENV) .ruff_cache .pytest_cache *.egg-info
