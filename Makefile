# make            the demonstration: containers write, the shipper delivers, every line is counted
# make test       style, types and tests; less than ten minutes
# make bench      whole pipelines against the yardstick, a quarter of an hour; bench-quick: two, with less data
# make bench-stages  single stages, in nanoseconds per record; less than a minute
# make soak       the fault tests that take minutes
# make conformance   cases recorded from Fluent Bit, against the shipper; AREAS="tail loki" takes some of them
# make docs       writes the generated pages anew: docs/configuration.md and docs/metrics.md
# make clean      removes what these have made, .venv included
#
# Everything is installed into .venv on first use, and again when pyproject.toml has changed. Packages of the operating
# system are installed only if a command is missing and we are root.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := run
.PHONY: run test lint unit bench bench-quick bench-stages conformance soak docs clean

PYTHON ?= python3
RUN_SECONDS ?= 30
GOLDEN ?= ../shared/golden
AREAS ?=
CASES ?=
SUBJECTS ?=
PEER ?=
BIN := .venv/bin
# Bytecode is kept: a process that compiles all it imports takes half a second longer to start, and a look at that is no
# look at the program.
unexport PYTHONDONTWRITEBYTECODE
PYTHON_H = $(shell $(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h
# Compiling every installed module would take longer than compiling those that are used.
PIP_INSTALL := $(BIN)/pip install --quiet --quiet --no-compile

# $(call need,command package ...): install the packages of those commands, or files, that are missing.
define need
	@missing=; set -- $(1); \
	while [ $$# -gt 0 ]; do command -v $$1 >/dev/null || [ -x /usr/sbin/$$1 ] || [[ $$1 == /* && -e $$1 ]] || missing="$$missing $$2"; shift 2; done; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" != 0 ]; then echo "Missing packages:$$missing. Install them, or run this as root once." >&2; exit 1; fi; \
	echo "Installing$$missing"; apt-get update -qq; \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null
endef

run: .venv/.demo
	@$(BIN)/python -m bench.quickstart --seconds $(RUN_SECONDS)

test: lint unit

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: .venv/.installed
	GOLDEN=$(GOLDEN) $(BIN)/pytest -m "not soak" -n 4 --dist worksteal

soak: .venv/.installed
	$(BIN)/pytest -m soak -s

bench: .venv/.bench bench-tools
	$(BIN)/python -m bench $(if $(PEER),--peer $(PEER)) $(CASES)

bench-quick: .venv/.bench bench-tools
	$(BIN)/python -m bench --quick --no-save $(if $(PEER),--peer $(PEER)) $(CASES)

bench-stages: .venv/.installed
	$(BIN)/python -m bench.stages $(SUBJECTS)

.PHONY: bench-tools
bench-tools:
	$(call need,nginx nginx-light openssl openssl)

conformance: .venv/.demo
	$(call need,openssl openssl)
	$(BIN)/python -m tests.conformance --golden $(GOLDEN) --areas "$(AREAS)"

docs: .venv/.demo
	$(BIN)/python -m shipper.config.reference
	$(BIN)/python -m shipper.monitoring.reference

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A Python without ensurepip cannot make a virtual environment; Debian has it in a package of its own.
.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@if ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
		[ "$$(id -u)" = 0 ] || { echo "Missing package: python3-venv" >&2; exit 1; }; \
		apt-get update -qq; apt-get install -y -qq --no-install-recommends python3-venv >/dev/null; fi
	@echo "Creating .venv"
	@$(PYTHON) -m venv .venv

# What `make run` needs; the first run waits for it, so it is the smaller part.
.venv/.demo: pyproject.toml | .venv/bin/pip
	@echo "Installing the shipper and the local CloudWatch Logs into .venv"
	@$(PIP_INSTALL) -e '.[demo]'
	@touch $@

# What the plots need beside that.
.venv/.bench: pyproject.toml | .venv/bin/pip
	@echo "Installing the shipper and the tools of the benchmarks into .venv"
	@$(PIP_INSTALL) -e '.[demo,bench]'
	@touch .venv/.demo $@

# The library of the journal is compiled, and the tests write journal files.
.venv/.installed: pyproject.toml | .venv/bin/pip
	$(call need,gcc gcc pkg-config pkg-config /usr/include/systemd/sd-journal.h libsystemd-dev $(PYTHON_H) \
		python3-dev /lib/systemd/systemd-journal-remote systemd-journal-remote)
	@echo "Installing the shipper and the tools of development into .venv"
	@$(PIP_INSTALL) -e '.[dev]'
	@touch .venv/.demo .venv/.bench $@
