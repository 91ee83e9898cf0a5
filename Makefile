# Everything runs in .venv, which `make install` fills from poetry.lock. Poetry itself is in .tools.
# To use another Python as well: make test PYTHON=python3.13 VENV=.venv-3.13

PYTHON ?= python3
VENV = .venv
HOST = 127.0.0.1
PORT = 8000
PROGRAM = api
ARGS =
ONLY =
SCENARIO = S1
ROUNDS = 5
SECONDS = 5
NAME =
FIELDS =
PLURAL =
FORCE =
HOLDER =
PART =
PARTS =
VERSION =

# Processes of the tests. They wait as often as they calculate, so two for each core are faster than one; each has servers of its own.
PROCESSES := $(shell cores=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((cores < 4 ? 2 * cores : 8)))

PY := $(VENV)/bin/python
POETRY := .tools/poetry/bin/python -m poetry --no-interaction
SIDE_BY_SIDE := -n $(PROCESSES) --dist loadfile --no-loadscope-reorder -m "not compose and not alone and not long"
ALONE = -m "alone and not compose and not long" $$(grep -l pytest.mark.alone tests/test_*.py)
SOURCES := src dev deploy tests gunicorn.conf.py $(wildcard benchmarks)

.DEFAULT_GOAL := help
.PHONY: help run debug servers psql valkey-cli logs reset install test test-compose test-long test-image bench profile entity entity-remove check deploy-check chaos fuzz remove drill rename upgrade rehearsal format clean python

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: install ## Start PostgreSQL, Valkey, the API and the worker (PORT=8000 HOST=127.0.0.1)
	@exec $(PY) -m dev.run --host "$(HOST)" --port "$(PORT)"

debug: install ## The same with the API in this terminal, for breakpoint(); or PROGRAM=worker
	@exec $(PY) -m dev.run --host "$(HOST)" --port "$(PORT)" --debug "$(PROGRAM)"

servers: install ## Start only PostgreSQL and Valkey, for an API started by an editor or by hand
	@exec $(PY) -m dev.run --only-servers

psql: install ## Open psql on the database that the settings name (ARGS='-c "SELECT 1"')
	@exec $(PY) -m dev.local.psql $(ARGS)

valkey-cli: install ## Send commands to the Redis server that the settings name (ARGS="DBSIZE")
	@exec $(PY) -m dev.local.valkey_cli $(ARGS)

logs: ## Follow the logs of the application, PostgreSQL and Valkey
	@files=$$(ls -d src/app/logs/app.log .local/*.log .local/*/server.log 2>/dev/null); \
		[ -n "$$files" ] || { echo "There are no logs yet: start \`make run\`." >&2; exit 1; }; \
		exec tail -n 20 -F $$files

reset: python ## Delete the local data and keep the installed packages and src/.env (asks first)
	@"$(PYTHON)" -m dev.local.clean --ask

install: python ## Install the packages of poetry.lock, if they are missing (PYTHON=python3)
	@"$(PYTHON)" dev/install.py "$(VENV)"

test: install ## Run all tests, or some (ARGS="tests/test_user.py -k password")
ifneq ($(ARGS),)
	$(PY) -m pytest -m "not compose" $(ARGS)
else
	$(PY) -m pytest $(SIDE_BY_SIDE)
	$(PY) -m pytest $(ALONE)
endif

coverage: install ## Run all tests and list the lines they do not cover; takes twice as long
	@$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest $(SIDE_BY_SIDE)
	$(PY) -m coverage run -m pytest $(ALONE)
	@$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

test-compose: install ## Run the tests of the compose files, which need Docker
	$(PY) -m pytest -m compose $(ARGS)

test-long: install ## Run the tests of failovers under load, which take too long for every change
	$(PY) -m pytest -m long $(ARGS)

test-image: ## Run all tests in the image, on its Python; needs Docker
	docker compose run --rm --build pytest python -m pytest $(SIDE_BY_SIDE)
	docker compose run --rm pytest python -m pytest $(ALONE)

bench: install ## Compare the hot requests with a hand-written application (ONLY=S1,S4 ROUNDS=5 SECONDS=5)
	$(PY) -m benchmarks.compare --only "$(ONLY)" --rounds $(ROUNDS) --seconds $(SECONDS)

profile: install ## Draw a flame graph of one of these requests (SCENARIO=S5 SECONDS=5)
	$(PY) -m benchmarks.profile $(SCENARIO) --seconds $(SECONDS)

entity: python ## Write an entity with its tests (NAME=product FIELDS="title:str(2..80) price:decimal(0..) owner:user")
	@"$(PYTHON)" -m dev.entity add "$$NAME" "$$FIELDS" --plural "$$PLURAL" --force "$$FORCE"

entity-remove: python ## Take an entity back (NAME=product)
	@"$(PYTHON)" -m dev.entity remove "$$NAME" --plural "$$PLURAL" --force "$$FORCE"

check: install ## Check format, lint, types, import directions, lock file, migrations, workflows
	$(PY) -m ruff format --check $(SOURCES)
	$(PY) -m ruff check $(SOURCES)
	$(PY) -m mypy
	PYTHONPATH=src $(PY) -c 'from importlinter.cli import lint_imports_command as main; main()' --no-logo
	$(POETRY) check --lock
	$(PY) -m dev.check_migrations
	$(PY) -m dev.lint_migrations
	$(VENV)/bin/zizmor --offline --persona pedantic --quiet .github

deploy-check: python ## Build the Kubernetes overlays, and check them against the schemas and our rules
	@"$(PYTHON)" dev/install.py .tools/deploy --only deploy
	PYTHONPATH=src .tools/deploy/bin/python -m dev.kubernetes

chaos: SECONDS = 120
chaos: install ## Inject random faults into real processes (SECONDS=120 SEED=1)
	$(PY) -m dev.chaos --seconds $(SECONDS) --seed $(or $(SEED),1)

fuzz: install ## Send generated requests to the API, as three roles (CASES=10000 SEED=1)
	$(PY) -m dev.fuzz --cases $(or $(CASES),10000) --seed $(or $(SEED),1)

remove: install ## Remove parts of the template from the project (PART=posts, or PART=chaos,benchmarks)
	@$(PY) -m dev.parts $(PART) $(if $(FORCE),--force)

rename: python ## Give the project a name (NAME="My Product" HOLDER="My Company"); asks for the holder
	@"$(PYTHON)" -m dev.rename "$(NAME)" $(if $(HOLDER),--holder "$(HOLDER)") $(if $(FORCE),--force)

drill: install ## Remove parts in copies of the project, and check what is left (PARTS=posts, or all)
	@$(PY) -m dev.parts.drill $(PARTS) $(if $(LONG),--long)

upgrade: install ## Merge another version of the template (VERSION=v0.2.0); docs/upgrading.md
	@$(PY) -m dev.upgrade "$(VERSION)"

rehearsal: install ## Merge the current commit into a product of the previous version (LONG=1: all tests)
	@$(PY) -m dev.rehearsal $(if $(LONG),--long)

format: install ## Format the code and fix what the linter can fix
	$(PY) -m ruff check --fix $(SOURCES)
	$(PY) -m ruff format $(SOURCES)

clean: python ## Delete .venv, .tools, the local data and all caches
	@"$(PYTHON)" -m dev.local.clean --everything
	rm -rf .venv .venv-* .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo 'Python 3.11 or newer is needed as "$(PYTHON)"; another one: make PYTHON=/path/to/python3.12 ...' >&2; exit 1; }
