# One target a purpose; each sets up what is missing. See docs/ and CONTRIBUTING.md.
VENV ?= .venv
PYTHON ?= python3
GUEST ?= .cache/guest
HOSTS ?= 1
# Where the load lists of the interoperability guideline are.
LISTS ?= ../shared/reference
KEEP := --json docs/conformance.json --page docs/conformance.md
export PYTHONPATH := $(CURDIR)
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest
# Tests that need root run when there is root.
ROOT := $(shell [ "$$(id -u)" = 0 ] && echo yes)

.PHONY: help up down setup packages venv guest test check format unit house api kernel scenario bench bench-growth bench-peer bench-page \
	conformance conformance-api conformance-tour docs lock clean

help: ## This list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

up: setup ## Install what is missing and start a cloud.
	@$(BIN)/virga up --hosts $(HOSTS) $(OPTIONS)

down: ## Stop the cloud and remove everything of it.
	@if [ -x $(BIN)/virga ]; then $(BIN)/virga down --wipe; fi

setup: packages venv guest ## Distribution packages, Python environment, guest image.

packages:
	@scripts/packages

venv: $(READY)

$(READY): requirements-dev.lock pyproject.toml
	@scripts/venv $(VENV) $(PYTHON)
	@touch $@

guest: packages venv ## The guest image tiny, if it is missing or its inputs changed.
	@if [ -n "$(ROOT)" ]; then $(BIN)/python -m virga.lab.guest.build $(GUEST); \
	else echo "The guest image is built as root; skipped."; fi

test: setup ## Every test that this machine can run.
	@VENV=$(VENV) scripts/test

check: $(READY) ## Format, lint, types, import rules, house tests; under 30 s.
	@VENV=$(VENV) scripts/check

format: $(READY) ## Format and fix what can be fixed.
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

unit: $(READY) ## Unit tests: no root, under a minute.
	@$(PYTEST) tests/unit tests/house

house: $(READY)
	@$(PYTEST) tests/house

api: $(READY) ## API tests with real clients, over loopback.
	@$(PYTEST) tests/api

kernel: setup ## Drivers and the lab against the real kernel; root.
	@$(PYTEST) tests/kernel

scenario: setup ## Whole clouds on this machine; root.
	@$(PYTEST) tests/scenario

bench: setup ## Speed and memory: a table, and JSON.
	@$(BIN)/python -m bench $(ARGS)

bench-growth: $(READY) ## What one more port costs beside 100, 1,000 and 10,000; SIZES="100 100000", ARGS="--hosts 10".
	@$(BIN)/python -m bench.growth $(ARGS) $(SIZES)

bench-peer: $(READY) ## A real Neutron beside Virga, in turn; installs it below .cache; root, 10 minutes and more.
	@$(BIN)/python -m bench.peer $(ARGS)

bench-page: setup ## docs/performance.md: 1 and 10 hosts grow, the rest, and what bench-peer found the last time.
	@$(MAKE) -s bench-growth ARGS="--hosts 1,10"
	@$(MAKE) -s bench ARGS="--page docs/performance.md"

conformance: setup ## Other people's suites on a lab, up to an hour; or one list: LIST=FILE.
	@$(BIN)/python -m conformance $(if $(LIST),--list $(LIST),--group lab --lists $(LISTS) $(KEEP)) $(ARGS)

conformance-api: setup ## Whole API suites with the data plane in memory.
	@$(BIN)/python -m conformance --group memory $(KEEP) $(ARGS)

.PHONY: fuzz soak
REQUESTS ?= 10000
SEED ?= 0
fuzz: $(READY) ## Drive every route with REQUESTS that are nearly right (SEED repeats a run).
	@$(BIN)/python -m fuzz --requests $(REQUESTS) --seed $(SEED)

.PHONY: faults
faults: setup ## Break a lab in many ways and judge what `virga explain` says; root.
	@$(BIN)/python -m tests.faults $(ARGS)

ROUNDS ?= 20
soak: setup ## Kill -9 everything of a lab at random moments, ROUNDS times, under load (FAST=--fast: many kills a minute).
	@$(BIN)/python -m soak --rounds $(ROUNDS) --seed $(SEED) $(FAST)

conformance-tour: setup ## The client's everyday commands, and openstacksdk, on a lab of their own.
	@$(BIN)/python -m conformance.tour $(ARGS)

docs: $(READY) ## Make the generated pages.
	@$(BIN)/python -m virga.cli.settings_page > docs/settings.md.new && mv docs/settings.md.new docs/settings.md

lock: $(READY) ## Choose and write down the versions of all dependencies.
	@scripts/lock

clean: ## Remove environments, caches and built images.
	rm -rf .venv .cache .mypy_cache .ruff_cache .hypothesis
