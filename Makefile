# Everything the workshop does on the command line. `make` alone lists it.
PYTHON ?= python3
BIN    := .venv/bin
LEARN  := @PYTHON="$(PYTHON)" sh tools/make_env.sh run
DEV    := @PYTHON="$(PYTHON)" sh tools/make_env.sh dev

.DEFAULT_GOAL := help
.PHONY: help setup run lab slides kernel test browser outputs letters letters-digest font boards exercises chinese \
	costs record server-test bench lock clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

setup: ## make .venv with the locked packages
	$(LEARN)

run: setup ## run every notebook offline; copies and pages under build/
	@$(BIN)/python -m tools.run $(NOTEBOOKS)

lab: setup ## open JupyterLab on the notebooks
	@$(BIN)/python -m tools.lab

slides: setup ## a deck of each lesson under build/slides; opens with no network
	@$(BIN)/python -m tools.slides $(NOTEBOOKS)

kernel: ## register the workshop as a Jupyter kernel, on SageMaker too
	@sh tools/make_kernel.sh

test: export OPENBLAS_NUM_THREADS = 1
test: export OMP_NUM_THREADS = 1
test: browser ## everything CI runs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 2 --dist worksteal tests
	$(BIN)/python -m pytest -q -c tests/nbval.ini notebooks

browser: ## find or install the browser that the tests drive
	$(DEV)
	@$(BIN)/python -m tools.browser

outputs: ## run the notebooks offline and store their outputs
	$(DEV)
	@$(BIN)/python -m tools.run --in-place $(NOTEBOOKS)

letters: setup ## fetch Amazon's original shareholder letters
	@$(BIN)/python -m tools.fetch_letters

letters-digest: ## build the digest PDFs from their Markdown, English and Chinese
	$(DEV)
	@$(BIN)/python data/letters/make_digests.py

font: ## cut the font of the Chinese edition from Noto Sans CJK
	$(DEV)
	@$(BIN)/python data/fonts/make_font.py

boards: ## draw the circuit boards of data/boards
	$(DEV)
	@$(BIN)/python -m data.boards.generator

costs: setup ## what each lesson uses and costs live: the tables of INSTRUCTOR.md
	@$(BIN)/python -m tools.costs

record: ## answer from your AWS account and keep the answers (costs money)
	$(DEV)
	@$(BIN)/python -m tools.record $(NOTEBOOKS)

server-test: ## lesson 04 against a real llama-server; builds it the first time (half an hour)
	$(DEV)
	@$(BIN)/python -m tools.server_test

bench: ## speed, as ratios within one run
	$(DEV)
	@$(BIN)/python -m tools.bench

exercises: ## write the exercises of the lessons from their solutions
	$(DEV)
	@$(BIN)/python -m tools.exercises

chinese: ## make the Chinese edition from the English one and locale/zh, and run it
	$(DEV)
	@$(BIN)/python -m tools.chinese $(NAMES)

lock: ## rewrite the lock files after a change of requirements
	$(DEV)
	$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes requirements.txt -o requirements.lock
	$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes -c requirements.lock requirements-dev.txt -o requirements-dev.lock

clean: ## remove .venv and build/
	rm -rf .venv .venv.making build *.egg-info
