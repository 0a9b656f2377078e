# Every command sets up what it needs: a machine with python3, pip, git and make is enough.
PYTHON ?= python3
VENV := .venv
BENCHES ?= mapping callbacks
ARGS ?=
STAMP := $(VENV)/.installed
PYTEST := $(VENV)/bin/python -m pytest
EMBEDDED := tests/simulation tests/journeys tests/unit tests/contract
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help install demo run test check test-services test-peers test-long bench
.DELETE_ON_ERROR:

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r target text; do \
		printf '  make %-14s %s\n' "$$target" "$$text"; done

install: $(STAMP)  ## make .venv (command .venv/bin/yipan) with development and bench extras

# The editable install holds a fixed list of top-level packages, hence a new stamp when setup.cfg changes.
$(STAMP): setup.cfg pyproject.toml constraints.txt .ci/venv
	PYTHON="$(PYTHON)" sh .ci/venv $(VENV) --constraint constraints.txt 'setuptools>=80'
	PYTHON="$(PYTHON)" sh .ci/venv $(VENV) --constraint constraints.txt --no-build-isolation --editable '.[dev,bench]'
	@touch $@

demo: install  ## shops sell, a warehouse picks, a courier delivers, the books are audited (ARGS='--orders 60 --exit')
	$(VENV)/bin/yipan demo $(ARGS)

run: install  ## an empty hub on this machine
	$(VENV)/bin/yipan up $(ARGS)

test: install  ## all that needs no server (ARGS='-k sentence')
	$(PYTEST) $(EMBEDDED) $(SIDE_BY_SIDE) $(ARGS)

check: install  ## ruff, mypy, the doors between rooms, and the wheel in an empty environment
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python .ci/rooms_seen.py
	$(VENV)/bin/lint-imports --no-cache
	PYTHON="$(PYTHON)" bash .ci/wheel-test

test-services: install  ## the same hub on PostgreSQL and RabbitMQ (YIPAN_TEST_POSTGRES, YIPAN_TEST_AMQP)
	$(PYTEST) tests/services $(ARGS)

test-peers: install  ## a journey through real third-party servers
	$(PYTEST) tests/peers $(ARGS)

test-long: install  ## the suites of `make test` with many more random examples
	HYPOTHESIS_PROFILE=long $(PYTEST) $(EMBEDDED) $(SIDE_BY_SIDE) $(ARGS)

bench: install  ## ours beside rivals, one JSON line each (BENCHES=mapping, ARGS=…)
	@set -e; for name in $(BENCHES); do $(VENV)/bin/yipan bench $$name --json $(ARGS); done
