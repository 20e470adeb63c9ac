# The verbs of backrest-sidecar. `make` alone lists them.
# Needs: GNU make, Python 3.11 or newer with its venv module. Everything else goes into .venv, pinned by hash.

PYTHON          ?= python3
VENV            ?= .venv
DOCKER          ?= docker
COMPOSE         ?= $(shell $(DOCKER) compose version >/dev/null 2>&1 && echo "$(DOCKER) compose" || echo docker-compose)

CONFIG          ?= ./backrest.config.json
ARGS            ?=
RUN_FLAGS       ?=
PYTEST_ARGS     ?=
JOBS            ?= 3

TAG             ?= backrest-sidecar:dev
DOCKER_BUILD_ARGS ?=
DOCKER_RUN_ARGS ?=
DOCKER_ARGS     ?= daemon --config "/etc/backrest/$$(basename "$(CONFIG)")" --with-events --apply

COMPOSE_FILE    ?= testdata/compose.dry-run.yaml
COMPOSE_PROJECT ?= backrest-dev
COMPOSE_CMD     ?= ps

PY       := $(VENV)/bin/python
RUN_DEPS := $(VENV)/.run-installed
DEV_DEPS := $(VENV)/.dev-installed
BIN      := bin/backrest-sidecar
VERSION  := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' sidecar/__init__.py)
PIP      := $(PY) -m pip --disable-pip-version-check install --quiet --require-hashes

# Exit 2 of the tool says "nothing to change, or a dry run": no failure of a make verb.
DONE     := || { code=$$?; [ $$code -eq 2 ] || exit $$code; echo "(exit code 2: a dry run, or nothing to change)"; }

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install run dry-run test test-image cov check fmt bench torture build wheel lock \
        image compose docker-build docker-run docker-push clean

help: ## This list
	@echo "usage: make VERB [NAME=value ...]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- the environment ---------------------------------------------------------------------------------------

$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { echo "make: '$(PYTHON)' is not on the PATH. Install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: $(PYTHON) has no venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(RUN_DEPS): $(VENV)/.made requirements.lock
	$(PIP) -r requirements.lock
	@pwd > "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/backrest-sidecar.pth"
	@touch $@

$(DEV_DEPS): $(RUN_DEPS) requirements-dev.lock
	$(PIP) -r requirements-dev.lock
	@touch $@

$(BIN): $(RUN_DEPS) Makefile
	@mkdir -p $(@D)
	@printf '#!/bin/sh\nexec "%s/bin/python" -P -m sidecar "$$@"\n' "$$($(PY) -c 'import sys; print(sys.prefix)')" > $@
	@chmod +x $@

install: $(DEV_DEPS) ## Make .venv with everything to run, test and check
	@echo "$(VENV) is ready"
build: $(BIN) ## Make ./bin/backrest-sidecar, runnable from anywhere
	@echo "$(BIN) is ready"

# --- using it ----------------------------------------------------------------------------------------------

run: $(BIN) ## Run the tool: ARGS="…"; without ARGS show the main job on a copy of a sample config
	@$(if $(strip $(ARGS)),$(BIN) $(ARGS) $(DONE),$(PY) -P scripts/demo.py)

dry-run: $(BIN) ## Show what would change in CONFIG=…, with RUN_FLAGS="…"
	@[ -f "$(CONFIG)" ] || { echo "CONFIG '$(CONFIG)' not found; set CONFIG=/path/to/config.json" >&2; exit 1; }
	@$(BIN) reconcile --dry-run --config "$(CONFIG)" $(RUN_FLAGS) $(DONE)

# --- working on it -----------------------------------------------------------------------------------------

test: $(DEV_DEPS) ## Unit, contract and engine tests, in at most five minutes: PYTEST_ARGS="…"
	@$(PY) -m pytest -m "not torture and not image" --numprocesses $(JOBS) --dist loadfile $(PYTEST_ARGS)

test-image: $(DEV_DEPS) ## Build the image on a base made with debootstrap and run it (root, some minutes)
	@$(PY) -m pytest -m image -rP $(PYTEST_ARGS)

cov: $(DEV_DEPS) ## The tests again, with the lines and branches they reach
	@$(PY) -m coverage run -m pytest -m "not torture and not image" $(PYTEST_ARGS)
	@$(PY) -m coverage report

check: $(DEV_DEPS) ## Format, lint, strict types, import rules
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

fmt: $(DEV_DEPS) ## Format the code and mend what the linter can mend
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

bench: $(DEV_DEPS) ## Measure: figures beside their budgets (a Docker engine of its own, root)
	@$(PY) -m tests.bench $(ARGS)

torture: $(DEV_DEPS) ## The long, bounded tests: lost edits, kill -9 at every step
	@$(PY) -m pytest -m torture $(PYTEST_ARGS)

wheel: $(DEV_DEPS) ## Make dist/backrest_sidecar-….whl
	@$(PY) -m pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

lock: ## Make the lock files again (needs uv); LOCK_FLAGS=--upgrade for newer versions
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
	    $(LOCK_FLAGS) --output-file requirements.lock pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
	    $(LOCK_FLAGS) --group dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

# --- the image and the stacks ------------------------------------------------------------------------------

image: docker-build ## The same as docker-build

docker-build: ## Build the image TAG=…, with DOCKER_BUILD_ARGS="--build-arg BASE=…"
	$(DOCKER) build --build-arg VERSION=$(VERSION) $(DOCKER_BUILD_ARGS) -t $(TAG) .

docker-run: docker-build ## Run the image on the directory of CONFIG=…, with DOCKER_ARGS="…"
	@[ -f "$(CONFIG)" ] || { echo "CONFIG '$(CONFIG)' not found; set CONFIG=/path/to/config.json" >&2; exit 1; }
	$(DOCKER) run --rm --init --read-only --security-opt no-new-privileges \
	    --cap-drop ALL --cap-add CHOWN --cap-add DAC_OVERRIDE --cap-add FOWNER \
	    -v "$$(cd "$$(dirname "$(CONFIG)")" && pwd):/etc/backrest" \
	    -v /var/run/docker.sock:/var/run/docker.sock:ro \
	    -v /var/lib/docker/volumes:/var/lib/docker/volumes:ro \
	    $(DOCKER_RUN_ARGS) $(TAG) $(DOCKER_ARGS)

docker-push: ## Push TAG=…
	$(DOCKER) push $(TAG)

compose: ## Compose on the demo stack: COMPOSE_CMD="up -d", COMPOSE_FILE=…, COMPOSE_PROJECT=…
	COMPOSE_PROJECT_NAME=$(COMPOSE_PROJECT) $(COMPOSE) -p $(COMPOSE_PROJECT) -f $(COMPOSE_FILE) $(COMPOSE_CMD)

clean: ## Remove .venv, bin, dist and every cache
	rm -rf $(VENV) bin build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find sidecar workers tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
