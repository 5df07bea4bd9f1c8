# `make search` and `make test` do all of the set-up themselves; the second time they start at once.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SPACE ?= arch.yaml
ARGS ?=
RUN ?=
# Benchmarks print JSON lines and exit with 1 where a ratio does not hold; score_*.py are tools that take arguments.
BENCHMARKS := $(filter-out benchmarks/score_%.py benchmarks/chaos.py benchmarks/backbone_%.py benchmarks/_%.py,$(wildcard benchmarks/*.py))

# Without bytecode Ray takes twice as long to start.
unexport PYTHONDONTWRITEBYTECODE
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: help
help: ## this list
	@echo "sed-search: make TARGET [SPACE=arch.yaml] [ARGS='...']"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  \1|/' | column -t -s '|'

.PHONY: search
search: $(STAMP) ## search SPACE on the demo data, or with ARGS='--data DIR ..' on your own
	@echo "search: it tells how long the trials take when it has timed an epoch"
	@$(BIN)/python -m trainables.search --space $(SPACE) $(ARGS)

.PHONY: test
test: $(STAMP) ## what a change has to pass: all but the slow tests
	@echo "test: 5 to 15 minutes on 2 cores (make test-all: 15 to 50)"
	@$(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

.PHONY: test-slow
test-slow: $(STAMP) ## the other tests: every kill, a cluster, every documented command
	@echo "test-slow: 10 to 35 minutes on 2 cores"
	@$(BIN)/python -m pytest -n 2 -m slow $(ARGS)

.PHONY: test-all
test-all: $(STAMP) ## all tests
	@echo "test-all: 15 to 50 minutes on 2 cores"
	@$(BIN)/python -m pytest -n 2 $(ARGS)

.PHONY: report
report: $(STAMP) ## a report of RUN=runs/NAME, or of several: RUN='runs/A runs/B'
	@test -n "$(RUN)" || { echo "report: say which run: make report RUN=runs/NAME" >&2; exit 2; }
	@echo "report: about 10 seconds, half a minute for ten thousand trials"
	@$(BIN)/python -m analysis.report $(addprefix --run ,$(RUN)) $(ARGS)

.PHONY: docs
docs: $(STAMP) ## the documentation into site/; warnings are errors
	@echo "docs: about 10 seconds"
	@$(BIN)/python -m scripts.make_reference --out docs/reference
	@$(BIN)/zensical build --strict --clean
	@if grep -rnoE '<(script|img|iframe|link)[^>]+(src|href)="(https?:)?//[^"]+' site --include='*.html' | grep -v 'rel="canonical"'; then \
	    echo "docs: a page loads something from the network" >&2; exit 1; fi

.PHONY: bench
bench: $(STAMP) ## every benchmark; fails when a ratio does not hold
	@echo "bench: about 7 minutes on 2 idle cores"
	@failed=""; for script in $(BENCHMARKS); do \
	    echo "# $$script"; $(BIN)/python "$$script" $(ARGS) || failed="$$failed $$script"; \
	done; \
	if [ -n "$$failed" ]; then echo "does not hold:$$failed" >&2; exit 1; fi

.PHONY: chaos
chaos: $(STAMP) ## searches and ensembles under random kills; fails when something is lost or left over
	@echo "chaos: about 7 minutes on 2 idle cores"
	@$(BIN)/python benchmarks/chaos.py $(ARGS)

.PHONY: mutants
mutants: $(STAMP) ## mutate the core; fails when the tests do not see a mutant
	@echo "mutants: mutate the core, every mutant must be caught; about 5 minutes on 2 cores"
	@$(BIN)/python tests/mutants.py $(ARGS)

.PHONY: lint
lint: $(STAMP) ## ruff, mypy and the import rules
	@echo "lint: about 1 minute, 10 s the second time"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy benchmarks
	@$(BIN)/lint-imports --no-logo

.PHONY: format
format: $(STAMP) ## rewrite the code in the project's format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: setup
setup: $(STAMP) ## only the set-up

.PHONY: constraints
constraints: $(STAMP) ## resolve the dependencies anew into constraints.txt
	@$(BIN)/python -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras \
	    --no-emit-index-url --no-annotate --no-header -o constraints.txt pyproject.toml

.PHONY: teacher
teacher: $(STAMP) ## install BirdNET and what runs it (weights: CC BY-NC-SA 4.0)
	@echo "teacher: 100 MB, about 10 seconds"
	@$(BIN)/python -m uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[teacher]'

.PHONY: clean
clean: ## remove the virtual environment and caches; runs/ stays
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .cache build dist site docs/reference
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so that a broken set-up is taken up again.
$(STAMP): pyproject.toml constraints.txt
	@echo "set-up: 3 GB of packages; 2 to 5 minutes the first time"
	@python=""; for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	    if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$name"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "No Python 3.11 or newer on PATH (python3 is $$(python3 --version 2>&1)); install one, e.g. apt-get install python3.11-venv." >&2; \
	    exit 1; \
	fi; \
	$(BIN)/python -c '' 2>/dev/null || "$$python" -m venv --clear $(VENV) || \
	    { echo "$$python cannot make a virtual environment; on Debian: apt-get install python3-venv." >&2; exit 1; }
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || \
	    { $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade >/dev/null; \
	      $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; }
	@$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --compile-bytecode -c constraints.txt -e '.[dev,analysis,export]'
	@touch $@
