# What a person or the CI does with this project. `make help` lists it.

PYTHON ?=
VENV ?= .venv
WORKERS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input --no-compile

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-fast test-system-postgres check fmt format-check lint types imports schema lock clean bench chaos FORCE

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-21s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ---------------------------------------------------------------- the environment
# Stamps inside the environment remember what was installed: nothing is installed twice, and a changed lock is installed.

OK := $(VENV)/.stamp-venv
DEMO := $(VENV)/.stamp-demo
DEV := $(VENV)/.stamp-dev

# An environment whose Python has gone (upgraded, uninstalled) is made anew.
ifneq ($(shell test -x $(BIN)/python && echo there),there)
$(OK): FORCE
endif

$(OK):
	@if $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then touch $@; exit 0; fi; \
	rm -rf $(VENV); old= found= bare=; \
	for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  "$$candidate" -c '' 2>/dev/null || continue; \
	  "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { old=$$candidate; continue; }; \
	  "$$candidate" -c 'import ensurepip, venv' 2>/dev/null || { bare=$$candidate; continue; }; \
	  found=$$candidate; break; \
	done; \
	if [ -n "$$found" ]; then "$$found" -m venv $(VENV) && touch $@ && exit 0; rm -rf $(VENV); exit 1; fi; \
	if [ -n "$$bare" ]; then echo "$$bare cannot make a virtual environment: apt-get install python3-venv" >&2; exit 1; fi; \
	echo "Python 3.11 or newer is needed$${old:+ ($$old is older)}: set PYTHON=/path/to/python3" >&2; exit 1

$(DEMO): $(OK) requirements-demo.lock pyproject.toml
	@echo "installing what the demo needs into $(VENV)" >&2
	@$(PIP) --require-hashes -r requirements-demo.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): $(OK) requirements-dev.lock pyproject.toml
	@echo "installing what tests and checks need into $(VENV)" >&2
	@$(PIP) --require-hashes -r requirements-dev.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $(DEMO) $@

# ---------------------------------------------------------------- use

demo: $(DEMO) ## see it work: embedded Postgres, simulated Cronofy, a run and its report
	@$(BIN)/reconciler demo

# ---------------------------------------------------------------- checks

# The gate on the domain speaks only when it fails, so that pytest has the last word.
test: $(DEV) ## every test, with coverage; the domain must be covered wholly, by branch
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m pytest -n $(WORKERS) --cov --cov-report=term-missing:skip-covered
	@domain=$$($(BIN)/coverage report --include='reconciler/domain/*' --show-missing --fail-under=100 2>&1) \
	  || { echo "$$domain"; echo 'reconciler/domain is not covered wholly'; exit 1; }

test-fast: $(DEV) ## the tests that need no server: rules, and the promises of the fakes
	@$(BIN)/python -m pytest -q tests/unit tests/contract -k 'not postgres and not simulator'

SYSTEM_POSTGRES := $(wildcard $(shell pg_config --bindir 2>/dev/null)/initdb)

# The embedded server is newer than most users' own: what depends on the server runs on the machine's own too, if there is one.
test-system-postgres: $(DEV) ## what depends on the server, on the machine's own PostgreSQL if it has one
	@$(if $(SYSTEM_POSTGRES),RECONCILER_TEST_POSTGRES=system $(BIN)/python -m pytest -q -n $(WORKERS) tests/integration \
	  tests/acceptance/test_every_cause.py tests/acceptance/test_migrate.py tests/contract/test_engines.py,echo 'no PostgreSQL server programs on this machine')

check: format-check lint types imports test-system-postgres test ## exactly what CI runs

fmt: $(DEV) ## format, and mend what can be mended by itself
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

format-check: $(DEV)
	@$(BIN)/ruff format --check .

lint: $(DEV) ## ruff
	@$(BIN)/ruff check .

types: $(DEV) ## mypy, strict
	@$(BIN)/mypy

imports: $(DEV) ## who may import whom (.importlinter)
	@$(BIN)/lint-imports

# ---------------------------------------------------------------- generated files

schema: $(DEV) ## write sql/schema.sql anew from the migrations
	@$(BIN)/python -m reconciler.postgres.schema_dump

COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-emit-index-url $(UPGRADE)
BUILD_REQUIRES = python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")'

# The widest one first; the others take their versions from it. An editable installation needs editables besides.
lock: ## pin every dependency by hash (UPGRADE=--upgrade takes newer versions)
	@command -v uv > /dev/null || { echo 'uv is needed: pip install uv' >&2; exit 1; }
	@($(BUILD_REQUIRES); echo editables) | $(COMPILE) pyproject.toml - --extra dev -o requirements-dev.lock
	@($(BUILD_REQUIRES); echo editables) | $(COMPILE) pyproject.toml - --extra embedded -c requirements-dev.lock -o requirements-demo.lock
	@$(COMPILE) pyproject.toml --extra scale -c requirements-dev.lock -o requirements.lock
	@$(BUILD_REQUIRES) | $(COMPILE) - -c requirements-dev.lock -o requirements-build.lock

clean: ## remove what was generated, but not the environment
	@rm -rf .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist demo-out mutants
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------- measurements

bench: $(DEV) ## measure, and write docs/performance.md (minutes)
	@$(BIN)/python -m tests.bench

chaos: $(DEV) ## try to break it, and write docs/reliability.md (half an hour)
	@$(BIN)/python -m tests.chaos $(ARGS)
