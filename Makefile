# Every target works from a fresh clone with Python 3.11+ and make; nothing needs to be activated.
.DEFAULT_GOAL := help
.PHONY: help install serve follow etl extract transform load minutes minutes-copy plan verify report \
	rollback worker schedule live stream consume dead \
	user key users revoke engines \
	test check test-crash test-live test-minutes fuzz lint format explain bench clean .runnable

VENV := .venv
MOTO := .venv-moto
COMMA := ,
PY := $(VENV)/bin/python
# the first interpreter that is new enough; `make PYTHON=/path/to/python` names another
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# ARGS are handed to the stage: make extract ARGS="--symbols IBM"
ARGS ?=
# of make user, key and revoke; said on the command line, never taken from the environment
NAME =
SCOPES =
EXPIRES =
KEY =

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.run  ## Install what service and ETL need into .venv, and nothing else

serve: $(VENV)/.run  ## Serve on 127.0.0.1:8000; runs the ETL first where there are no bars yet
	@$(PY) -m etl --if-needed
	@$(PY) -m api.main

follow: $(VENV)/.run  ## Serve what FOLLOW_URL has, and keep it the newest; runs no ETL
	@$(PY) -m etl.follow --check
	@$(PY) -m api.main

etl: $(VENV)/.run  ## Extract, transform and load, under one lock
	@$(PY) -m etl $(ARGS)

extract: $(VENV)/.run  ## Fetch into data/raw_data.parquet
	@$(PY) -m etl.extract $(ARGS)

transform: $(VENV)/.run  ## Validate into data/clean_data.parquet and data/rejected_data.parquet
	@$(PY) -m etl.transform $(ARGS)

load: $(VENV)/.run  ## Publish into data/market_data.duckdb
	@$(PY) -m etl.load $(ARGS)

minutes: $(VENV)/.run  ## Extract, transform and load bars of minutes, under the same lock
	@$(PY) -m etl.minutes $(ARGS)

minutes-copy: $(VENV)/.run  ## Copy the store of minutes into another, and prove them equal: FROM=files TO=clickhouse://…
	@$(PY) -m etl.minutes_copy --from='$(FROM)' --to='$(TO)' $(ARGS)

plan: $(VENV)/.run  ## Show what the next run will ask the vendor, and why
	@$(PY) -m etl.extract --plan $(ARGS)

verify: $(VENV)/.run  ## Recompute what the store says of itself; name what does not add up
	@$(PY) -m etl.verify

report: $(VENV)/.run  ## Write data/report.html: the last run and the store on one page
	@$(PY) -m etl.report

worker: $(VENV)/.celery  ## Make the calls of the ETL, through the Redis that QUEUE_URL names, on any host
	@$(PY) -m etl.worker $(ARGS)

schedule: $(VENV)/.run  ## Run the ETL now and after each close of the exchanges of its symbols
	@$(PY) -m etl.schedule $(ARGS)

live: $(VENV)/.run  ## Stream live bars (without a key: a replay) and store them, in one process
	@$(PY) -m etl.live

stream: $(VENV)/.run  ## Take live bars into the bus that BUS_URL names
	@$(PY) -m etl.stream

consume: $(VENV)/.run  ## Store the live bars of the bus; any number may run
	@$(PY) -m etl.consume

dead: $(VENV)/.run  ## List live bars that could not be stored; ARGS=--resend hands them on anew
	@$(PY) -m etl.dead $(ARGS)

rollback: $(VENV)/.run  ## Publish the version before of the days; a second one undoes the first
	@$(PY) -m etl.rollback

user: $(VENV)/.run  ## Add a user, or change the password: NAME=ann SCOPES=read,admin
	@$(PY) -m api.callers user --name='$(NAME)' --scopes='$(SCOPES)'

key: $(VENV)/.run  ## Make an API key, shown once: NAME=robot SCOPES=read EXPIRES=2030-12-31
	@$(PY) -m api.callers key --name='$(NAME)' --scopes='$(SCOPES)' --expires='$(EXPIRES)'

users: $(VENV)/.run  ## List users and keys
	@$(PY) -m api.callers users

revoke: $(VENV)/.run  ## Take away a user and the keys of that name (NAME=ann), or one key (KEY=1f2e3d4c)
	@$(PY) -m api.callers revoke --name='$(NAME)' --key='$(KEY)'

# the tests start some hundred processes, which share what is compiled once
test: $(VENV)/.dev  ## Run the tests
	@PYTHONDONTWRITEBYTECODE= $(PY) -m pytest --numprocesses auto --dist worksteal $(ARGS)

engines: $(VENV)/.engines $(MOTO)/.installed  ## Install the clients of every engine, and the engines that tests start themselves

check:  ## What CI runs, in short: lint, types, tests and a smoke run
	@bash .ci/run short

test-crash: $(VENV)/.dev  ## Kill runs at very many moments; each must heal (minutes)
	@$(PY) -m pytest tests/crash.py $(ARGS)

test-live: $(VENV)/.engines  ## Kill, flood and measure the path of live bars, at length (minutes)
	@$(PY) -m pytest -m live -rP -n 0 tests/test_live_*.py $(ARGS)

test-minutes: $(VENV)/.engines  ## Test the engines of minutes at length: 200 stores, kills, copies (minutes)
	@$(PY) -m pytest --numprocesses auto -m minutes $(ARGS)

fuzz: $(VENV)/.dev  ## Send requests made from the schema to every route (minutes)
	@$(PY) -m tests.fuzz $(ARGS)

lint: $(VENV)/.dev  ## Check style and types
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

format: $(VENV)/.dev  ## Put the code into the one format
	@$(VENV)/bin/ruff check --fix --quiet .
	@$(VENV)/bin/ruff format .

explain: $(VENV)/.run  ## Print the plans and timings that DESIGN.md quotes
	@$(PY) -m tests.bench.explain

bench: $(VENV)/.run  ## Measure requests a second (wrk) and loads beside bare peers in one run
	@$(PY) -m tests.bench $(ARGS)

clean:  ## Remove .venv and caches; never data/, for a free key gives no old bars back
	rm -rf $(VENV) $(MOTO) .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/artefacts
	find etl api tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Nothing that is there is removed: a Python that this user cannot run may be another's, in use.
$(VENV)/bin/python:
	@if [ -h $@ ] || [ -e $@ ]; then \
		echo "$@ cannot be run by this user: run make as who made it, name another folder"; \
		echo "(make VENV=.venv-mine), or remove it by make clean if its Python is gone"; exit 1; fi
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python"; exit 1; }
	@was=$$(test -e $(VENV) && echo there); $(PYTHON) -m venv $(VENV) || { \
		[ -n "$$was" ] || rm -rf $(VENV); \
		echo "venv is missing (Debian, Ubuntu: apt install python3-venv)"; exit 1; }

.runnable: $(VENV)/bin/python
	@$(PY) -c "" 2>/dev/null || $(MAKE) --no-print-directory --always-make $(PY)

# Installs a requirements file; a line a package, for pip is silent while it has none to show to.
define install
	@echo "Installing $(1) into $(VENV): $(2) ..."
	@{ $(PY) -m pip install --progress-bar off --disable-pip-version-check -r $(1) -c constraints.txt \
		|| echo "pip failed"; } | awk ' \
		/^Collecting / { package = $$2 } \
		/^ *(Downloading|Using cached) [^ ]*\.(whl|tar\.gz) \(/ { \
			printf "  %3d  %s %s %s\n", ++n, package, $$(NF - 1), $$NF; fflush() } \
		/^Installing collected packages/ { \
			printf "  unpacking %d packages, half of the time is left ...\n", n; fflush() } \
		/^pip failed$$/ { failed = 1 } \
		END { exit failed }'
	@touch $@
endef

# A stamp each, newer than the files it was made from: a changed one reinstalls, nothing else does.
$(VENV)/.run: requirements.txt constraints.txt | .runnable
	$(call install,requirements.txt,about 60 packages$(COMMA) 150 MB to download$(COMMA) 500 MB on the disk$(COMMA) a minute)

$(VENV)/.celery: requirements-celery.txt $(VENV)/.run
	$(call install,requirements-celery.txt,a dozen packages$(COMMA) 15 MB on the disk)

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	$(call install,requirements-dev.txt,what the tests want$(COMMA) about 400 MB on the disk)

$(VENV)/.engines: $(wildcard requirements-*.txt) $(VENV)/.dev
	$(call install,requirements-engines.txt,clients of all engines and what their tests start$(COMMA) about 250 MB on the disk)

# an S3 for the tests, in an environment of its own: its pins and ours do not go together
$(MOTO)/.installed: requirements-moto.txt | .runnable
	@echo "Installing requirements-moto.txt into $(MOTO): an S3 that tests start ..."
	@$(PY) -m venv $(MOTO)
	@$(MOTO)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-moto.txt
	@touch $@
