# make demo    the whole path on real purchases, in an environment of its own (ARGS="--json --events 5000")
# make test    the tests (ARGS="tests/index -k upsert")
# make check   what a contributor runs: format, lint, types, import contracts, schemas, tests, doctests
# make fuzz    random bytes through the decoder and the intake, led by coverage (SECONDS=600)
# make fmt     puts the code into shape
# make clean   removes the environment and every cache
# 
# Needs make and Python 3.11 or later with venv; another Python by PYTHON=/path/to/python.

MAKEFLAGS += --no-print-directory
.SILENT:
.PHONY: demo test check fuzz fmt clean help
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
FITS := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c '$(FITS)' 2>/dev/null && echo "$$name" && break; done)

help:
	sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

$(BIN)/python:
	test -n '$(PYTHON)' || { echo "No Python >= 3.11 with venv found (Debian: apt install python3 python3-venv)." \
		"Name one: make PYTHON=/path/to/python" >&2; exit 2; }
	'$(PYTHON)' -m venv $(VENV) >&2

# What was installed is compiled beside what numba compiles of ours: together they take the time of one.
COMPILE := $(BIN)/python -m compileall -q -x '/tests?/' $(VENV)/lib >/dev/null 2>&1 & \
	$(BIN)/python -m streaming.warming >&2; status=$$?; wait; exit $$status

# Everything that installs speaks on standard error, so that `make demo ARGS=--json` prints one JSON object alone.
$(VENV)/demo.stamp: pyproject.toml | $(BIN)/python
	echo "Installing what the demo needs into $(VENV) ..." >&2
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e '.[demo]' >&2
	$(COMPILE)
	touch $@

$(VENV)/dev.stamp: pyproject.toml | $(BIN)/python
	echo "Installing what the tests need into $(VENV) ..." >&2
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e '.[dev]' >&2
	$(COMPILE)
	touch $(VENV)/demo.stamp $@

demo: $(VENV)/demo.stamp
	$(BIN)/beforehand demo $(ARGS)

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m streaming.schemas --check
	$(BIN)/python -m pytest --doctest-modules streaming encoders index tests $(ARGS)

SECONDS ?= 180

fuzz: $(VENV)/dev.stamp
	$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet -e '.[fuzz]' >&2
	mkdir -p .fuzz
	$(BIN)/python -m tests.fuzz.decoder -max_total_time=$(SECONDS) -max_len=4096 -artifact_prefix=.fuzz/ .fuzz

fmt: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .fuzz .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
