# Everything a checkout can do. Assumed is Debian with Python 3.11, make and git; the rest is installed on the way,
# once: each recipe is quick the second time.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
EXAMPLE := examples/digits
# asked when a recipe starts, which is after `engine` has done what it can
EXECUTOR = $(shell [ "$(HEADWAY_NO_ENGINE)" != 1 ] && timeout 15 docker version >/dev/null 2>&1 && echo docker || echo process)

export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.PHONY: help setup engine base wheelhouse data demo weather test check format docs bench clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: .venv/.installed ## .venv with everything in it, at the versions of constraints.txt

.venv/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "setup: no Python 3.11 or newer is found: install one, or name it with PYTHON=" >&2; exit 3; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		[ "$$(id -u)" = 0 ] && [ -e /etc/debian_version ] || { echo "setup: $(PYTHON) has no venv module: install python3-venv" >&2; exit 3; }; \
		echo "setup: installing Debian's python3-venv"; \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-venv >/dev/null; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "setup: installing headway and what it needs into .venv"
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/python -m compileall -q sdk launcher # as pip does for a package that is not editable
	@touch $@

engine: ## a Docker engine that answers; installed and started as root on Debian, unless HEADWAY_NO_ENGINE=1
	@containers/engine.sh || { [ $$? = 3 ] && [ "$$HEADWAY_REQUIRE_DOCKER" != 1 ]; }

base: engine ## the base image of the training image
	@containers/base.sh

wheelhouse: setup ## the wheels of the example's image, so that it builds with no network
	@containers/wheelhouse.sh $(EXAMPLE)/requirements.txt >/dev/null

data: setup ## the example's pictures, made where they are absent, and known to DVC
	@test -d $(EXAMPLE)/data/digits -a -d $(EXAMPLE)/.dvc/cache || { cd $(EXAMPLE) && python make_data.py && dvc add --quiet data/digits; }

demo: setup base data wheelhouse ## the main job: a real model trained by an emulated Vertex AI on this machine
	@launch local up --executor $(EXECUTOR)
	@launch data push --local $(EXAMPLE)/config.yaml
	@launch submit --local --wait --again --gpu a100 $(EXAMPLE)/config.yaml \
		environment.wheelhouse=$$(containers/wheelhouse.sh $(EXAMPLE)/requirements.txt)

weather: setup $(if $(filter docker,$(JOBS)),base wheelhouse) ## four years of retraining on the local stack (or MONTHS; BAD, the wrong delivery; JOBS=docker, in containers)
	@cd examples/weather && python -W ignore simulate.py --name $(or $(NAME),weather) --months $(or $(MONTHS),48) --bad $(or $(BAD),2014-07) \
		$(if $(filter docker,$(JOBS)),--executor docker environment.wheelhouse=$$($(CURDIR)/containers/wheelhouse.sh $(EXAMPLE)/requirements.txt))

test: setup base data wheelhouse ## the whole suite (or PYTEST_ARGS); HEADWAY_REQUIRE_DOCKER=1 makes a missing engine a failure
	@HEADWAY_TEST_WHEELHOUSE=$$(containers/wheelhouse.sh $(EXAMPLE)/requirements.txt); export HEADWAY_TEST_WHEELHOUSE; \
	if [ -n "$(PYTEST_ARGS)" ]; then exec python -m pytest $(PYTEST_ARGS); fi; \
	failed=0; \
	python -m pytest -n 2 tests/unit tests/contract || failed=1; \
	python -m pytest -n 2 --dist loadfile tests/integration tests/e2e || failed=1; \
	exit $$failed

check: setup ## format, lint, types, layers and the fast tests
	@ruff format --check --quiet
	@ruff check --quiet
	@mypy
	@lint-imports
	@python -m pytest tests/unit -m 'not docker and not slow' -q

format: setup ## rewrites the code in its format
	@ruff check --quiet --fix-only
	@ruff format --quiet

docs: setup ## the tables that the emulator writes into docs/emulator.md
	@headway-emulator methods --write docs/emulator.md

bench: setup base data wheelhouse ## what is measured, as ratios with their medians
	@HEADWAY_TEST_WHEELHOUSE=$$(containers/wheelhouse.sh $(EXAMPLE)/requirements.txt) python -m benchmarks

clean: ## removes what the recipes made in this checkout
	rm -rf .venv .cache dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	rm -rf $(EXAMPLE)/data/digits $(EXAMPLE)/.dvc/cache $(EXAMPLE)/.dvc/tmp
	find . -name __pycache__ -prune -exec rm -rf {} +
