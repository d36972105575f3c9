# Every command a person types; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
MINUTES ?= 10
.PHONY: help install demo test test-slow check format up loop bench soak science clean distclean lock

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

install: $(INSTALLED) ## install the platform into .venv from the hashed lock

# uv installs in seconds what takes pip minutes; where it cannot reach the index that pip is configured for, pip does it.
$(INSTALLED): requirements.lock requirements-installer.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements-installer.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock \
		|| $(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/poplift init >/dev/null
	@touch $@

demo: install ## run the main job on real data and print what came out
	@$(BIN)/poplift demo

up: install ## start API, MLflow, Prefect, Feast UI and reports; Ctrl-C stops all
	@$(BIN)/poplift up

check: install ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check ## lint, types and the quick tests, at most 10 minutes on 2 cores
	$(BIN)/pytest -n 2 -m "not slow"

test-slow: install $(VENV)/.spark ## browser, Spark, both profiles end to end, kills and faults
	$(BIN)/pytest -m slow

$(VENV)/.spark: requirements-spark.lock $(INSTALLED)
	@echo "Installing Spark (built from source) ..."
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-spark.lock \
		|| $(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements-spark.lock
	@touch $@

format: install ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

loop: install ## let the platform run a simulated market for a year and show what it earned
	@$(BIN)/poplift loop

science: install ## run every study of docs/science.md against known truth; an hour
	$(BIN)/poplift study all

bench: install ## measure every claim against its peer and rewrite benchmarks/README.md
	$(BIN)/python benchmarks/run_all.py

soak: install ## ten minutes of load while stores, processes, releases and disks fail; what held; MINUTES=3 is shorter
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES)

lock: install ## resolve the dependencies again and write the locks
	$(BIN)/python infra/lock.py

clean: ## forget everything the platform made; the next run is a first run
	rm -rf var feature_repo/feature_store.yaml

distclean: clean ## clean, and the installation too
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
