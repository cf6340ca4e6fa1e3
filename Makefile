# `make help` lists the targets. Each sets up .venv first if it does not match requirements.lock yet.

PYTHON ?= python3
# `clean` deletes it, so it is never what somebody names on the command line.
override VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
override READY := $(VENV)/requirements.sha256
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
PYTEST_ARGS ?=
SEEDS ?= 5

.DEFAULT_GOAL := help
.PHONY: help repro test lint check noise experiments lock clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

repro: $(READY)  ## run the stages that are not up to date, from the dump to the recommendations
	dvc repro
	@marketplace report
	@echo
	@echo "On the test split, and for the untouched ImageNet features beside it (metrics/evaluate.json):"
	@cat metrics/evaluate.json
	@marketplace drift
	@cat docs/after-repro.txt

test: $(READY) lint  ## lint, check the types and run the whole test suite
	python -m pytest $(PYTEST_ARGS)

lint: $(READY)  ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

check: $(READY)  ## check that dvc.lock is up to date with code, parameters and data, without the data
	marketplace check

noise: $(READY)  ## repeat training with SEEDS=5 seeds to measure how much the metrics move by chance (metrics/noise.json)
	marketplace noise --seeds $(SEEDS)

experiments: $(READY)  ## list experiments and the newest commits: the metrics that decide, and what differed
	marketplace experiments

lock:  ## resolve requirements.txt into requirements.lock: every package pinned, every file hashed
	@[ -x $(VENV)/bin/uv ] || { echo "make lock needs .venv with uv in it: run make check first."; exit 1; }
	uv pip compile requirements.txt --universal --python-version 3.11 --generate-hashes --no-emit-package marketplace \
		--custom-compile-command "make lock" --quiet --output-file requirements.lock

clean:  ## remove .venv and the tools' caches; data, models and DVC's cache stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1): try make PYTHON=python3.12"; exit 1; }
	@if [ -f $@ ] && cat $^ | sha256sum | cmp -s - $@; then \
		touch $@; \
	else \
		echo "Setting up $(VENV) with the pinned requirements: some minutes and 6 GB, once."; \
		rm -f $@; \
		{ [ -x $(VENV)/bin/python ] || $(PYTHON) -m venv $(VENV); } && \
		$(PIP) --require-hashes -r requirements.lock && \
		$(PIP) --no-deps -e . && \
		cat $^ | sha256sum > $@; \
	fi
