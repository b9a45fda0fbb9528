# Everything the workshop does on the command line. `make` alone lists it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/python -m uv

.DEFAULT_GOAL := help
.PHONY: help setup run lab slides kernel test browser outputs letters letters-digest boards record bench lock clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

$(VENV)/.learner: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}. Try: make $(MAKECMDGOALS) PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --editable .
	@touch $@

$(VENV)/.maintainer: $(VENV)/.learner requirements-dev.lock
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@touch $@

setup: $(VENV)/.learner ## make .venv with the locked packages

run: setup ## run every notebook offline; copies and pages under build/
	@$(BIN)/python -m tools.run_notebooks $(NOTEBOOKS)

lab: setup ## open JupyterLab on the notebooks
	@$(BIN)/python -m tools.lab

slides: setup ## a deck of each lesson under build/slides; opens with no network
	@$(BIN)/python -m tools.slides build $(NOTEBOOKS)

kernel: ## register the workshop as a Jupyter kernel, on SageMaker too
	@sh tools/make_kernel.sh

test: $(VENV)/.maintainer browser ## everything CI runs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 2 --dist loadfile tests
	$(BIN)/python -m pytest -q -c tests/nbval.ini notebooks

browser: $(VENV)/.maintainer ## find or install the browser that the tests drive
	@$(BIN)/python -m tools.browser

outputs: $(VENV)/.maintainer ## run the notebooks offline and store their outputs
	@$(BIN)/python -m tools.run_notebooks --in-place $(NOTEBOOKS)

letters: setup ## fetch Amazon's original shareholder letters
	@$(BIN)/python -m tools.fetch_letters

letters-digest: $(VENV)/.maintainer ## build the digest PDFs from data/letters/source
	@$(BIN)/python data/letters/make_digests.py

boards: $(VENV)/.maintainer ## draw the circuit boards of data/boards
	@$(BIN)/python -m data.boards.generator

.PHONY: picture costs
picture: setup ## take the README's picture from the board lesson
	@$(BIN)/python -m tools.readme_picture

costs: setup ## what each lesson uses and costs live: the tables of INSTRUCTOR.md
	@$(BIN)/python -m tools.costs $(NOTEBOOKS)

record: $(VENV)/.maintainer ## answer from your AWS account and keep the answers (costs money)
	@$(BIN)/python -m tools.record $(NOTEBOOKS)

bench: $(VENV)/.maintainer ## speed, as ratios within one run
	@$(BIN)/python -m tools.bench

lock: $(VENV)/.maintainer ## rewrite the lock files after a change of requirements
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes requirements.txt -o requirements.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes -c requirements.lock requirements-dev.txt -o requirements-dev.lock

clean: ## remove .venv and build/
	rm -rf $(VENV) build *.egg-info
