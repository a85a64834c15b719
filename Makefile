# banditd: `make serve` and `make test` are all that a newcomer needs; the first run of each makes .venv.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve demo replay test coverage check lint format types contracts bench lock clean

# Set on the command line: PYTHON=python3.12   PORT=9000   ARGS="--config banditd.toml"   COVERAGE=1
ARGS ?=
COVERAGE ?= 0
COVERAGE_CORE ?= 100
COVERAGE_REST ?= 95

VENV := .venv
BIN := $(VENV)/bin
CORE := policies/*,replay/*,banditd/journal/*
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input
# Exact versions by hash, wheels only: nothing is built here but banditd itself, and nothing unlocked is fetched for that.
INSTALL := $(PIP) install --require-hashes --no-deps --only-binary :all:
INSTALL_SELF := $(PIP) install --no-index --no-deps --no-build-isolation --editable .

# An environment that another checkout made, that came some other way, or whose Python is gone is made anew.
ifneq ($(shell cat $(VENV)/.made 2>/dev/null),$(CURDIR))
.PHONY: $(VENV)/.made
else ifneq ($(shell $(BIN)/python -c 'print(1)' 2>/dev/null),1)
.PHONY: $(VENV)/.made
endif

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 12

serve: $(VENV)/.run ## serve on 127.0.0.1:8080 (PORT=9000, ARGS="--config banditd.toml")
	@exec $(BIN)/banditd serve $(if $(PORT),--port $(PORT)) $(ARGS)

demo: $(VENV)/.demo ## watch it learn from real data (ARGS="obd")
	@exec $(BIN)/banditd demo $(ARGS)

replay: $(VENV)/$(if $(findstring engine ray,$(ARGS)),.ray,.replay) ## evaluate policies on a log (ARGS="log.json.gz --policy 'new={kind=\"vw\"}'")
	@exec $(BIN)/banditd replay $(ARGS)

test: $(VENV)/.dev ## run the tests (ARGS="-m unit", COVERAGE=1)
	@$(BIN)/python -m pytest $(if $(filter 1,$(COVERAGE)),--cov --cov-report=) $(ARGS)
ifeq ($(COVERAGE),1)
	@$(BIN)/python -m coverage report --include='$(CORE)' --fail-under=$(COVERAGE_CORE)
	@$(BIN)/python -m coverage report --omit='$(CORE)' --fail-under=$(COVERAGE_REST)
endif

coverage: ## run the tests and hold the coverage floors
	@$(MAKE) --no-print-directory test COVERAGE=1

check: lint types contracts ## lint, types and import contracts

lint: $(VENV)/.dev ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(VENV)/.dev ## let ruff write what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(VENV)/.dev ## mypy, strict
	@$(BIN)/mypy

contracts: $(VENV)/.dev ## who may import whom
	@$(BIN)/lint-imports

bench: ## run a bench (ARGS="policies --quick") beside the libraries it compares with, in .venv-bench
	@$(MAKE) --no-print-directory VENV=.venv-bench .venv-bench/.bench
	@exec .venv-bench/bin/python -m bench.$(if $(ARGS),$(ARGS),policies)

LOCK := $(BIN)/uv --no-config pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(ARGS)

lock: $(VENV)/.made ## write the locked requirements again (ARGS=--upgrade for newer versions)
	@test -x $(BIN)/uv || $(INSTALL) --requirement requirements/lock.txt
	@$(LOCK) --output-file requirements/dev.txt --extra test pyproject.toml requirements/build.in
	@$(LOCK) --output-file requirements/demo.txt --constraint requirements/dev.txt --extra demo pyproject.toml
	@$(LOCK) --output-file requirements/replay.txt --constraint requirements/dev.txt --extra replay pyproject.toml
	@$(LOCK) --output-file requirements/ray.txt --constraint requirements/dev.txt --extra ray pyproject.toml
	@$(LOCK) --output-file requirements/run.txt --constraint requirements/dev.txt pyproject.toml
	@$(LOCK) --output-file requirements/bench.txt --constraint requirements/dev.txt --extra bench pyproject.toml
	@$(LOCK) --output-file requirements/data.txt --no-deps requirements/data.in
	@$(LOCK) --output-file requirements/build.txt --constraint requirements/dev.txt requirements/build.in
	@$(LOCK) --output-file requirements/lock.txt requirements/lock.in

clean: ## remove the environment and the caches, never a store
	@rm -rf $(VENV) .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* build dist
	@find banditd policies replay bench tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: each names what is installed, and is older than whatever it was installed from only if it is stale.

$(VENV)/.made:
	@sh requirements/venv.sh $(VENV)
	@printf '%s\n' '$(CURDIR)' > $@

$(VENV)/.run: $(VENV)/.made requirements/run.txt requirements/build.txt pyproject.toml
	@echo 'Installing what banditd needs into $(VENV) (once; about 40 MB) ...'
	@$(INSTALL) --requirement requirements/run.txt --requirement requirements/build.txt
	@$(INSTALL_SELF)
	@touch $@

$(VENV)/.demo: $(VENV)/.run requirements/demo.txt
	@echo 'Installing what the demonstration needs into $(VENV) (once) ...'
	@$(INSTALL) --requirement requirements/demo.txt
	@touch $@

$(VENV)/.replay: $(VENV)/.run requirements/replay.txt
	@echo 'Installing what evaluating logs needs into $(VENV) (once; about 300 MB) ...'
	@$(INSTALL) --requirement requirements/replay.txt
	@touch $@

$(VENV)/.ray: $(VENV)/.replay requirements/ray.txt
	@echo 'Installing what a Ray cluster needs into $(VENV) (once; about 90 MB) ...'
	@$(INSTALL) --requirement requirements/ray.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.made requirements/dev.txt pyproject.toml
	@echo 'Installing what the tests need into $(VENV) (once; about 220 MB) ...'
	@$(INSTALL) --requirement requirements/dev.txt
	@$(INSTALL_SELF)
	@touch $(VENV)/.run $(VENV)/.demo $(VENV)/.replay $(VENV)/.ray $@

# The libraries that the benches compare with, and what those need, stay out of the environment that tests run in.
$(VENV)/.bench: $(VENV)/.run requirements/bench.txt requirements/data.txt
	@echo 'Installing what the benches need into $(VENV) (once; about 600 MB) ...'
	@$(INSTALL) --requirement requirements/bench.txt
	@$(INSTALL) --requirement requirements/data.txt
	@touch $@
