# `make help` lists the targets. Each first sets up .venv, or updates it to a changed lock.

PYTHON ?= python3
# `clean` deletes it, so it is never what somebody names on the command line.
override VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# What is installed: the pipeline and the server, or also the options and the test tools.
override READY := $(VENV)/requirements.sha256
override READY_FOR_TESTS := $(VENV)/requirements-all.sha256
# --no-deps: a lock is complete, except for what pyproject.toml leaves out on purpose. --no-build-isolation: setuptools
# comes from the lock, too, and not in any version without a check of its hash.
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps
LOCK := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-package marketplace --custom-compile-command "make lock"
PYTEST_ARGS ?=
SEEDS ?= 5

.DEFAULT_GOAL := help
.PHONY: help repro test lint coverage check noise experiments lock release clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

repro: $(READY)  ## run the stages that are not up to date, from the dump to the recommendations
	dvc repro
	@marketplace report
	@echo
	@echo "The metrics to decide by, on the test split (metrics/summary.json):"
	@cat metrics/summary.json
	@marketplace drift
	@cat docs/after-repro.txt

# One more than there are cores: tests wait for servers, queues and each other.
PROCESSES = $$(python -c "import os; print(os.cpu_count() + 1)")

test: lint  ## lint, check the types and run the whole test suite
	python -m pytest --numprocesses=$(PROCESSES) $(PYTEST_ARGS)

coverage: $(READY_FOR_TESTS)  ## run the tests and list the lines and branches of src that they do not reach
	python -m pytest --cov --cov-report=term-missing:skip-covered $(PYTEST_ARGS)

lint: $(READY_FOR_TESTS)  ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

check: $(READY)  ## check that dvc.lock is up to date with code, parameters and data, without the data
	marketplace check

noise: $(READY)  ## repeat training with SEEDS=5 seeds to measure how much the metrics move by chance (metrics/noise.json)
	marketplace noise --seeds $(SEEDS)

experiments: $(READY)  ## list experiments and the newest commits: the metrics that decide, and what differed
	marketplace experiments

lock:  ## resolve requirements.txt and pyproject.toml into the locks: every package pinned, every file hashed
	@[ -x $(VENV)/bin/uv ] || { echo "make lock needs .venv with uv in it: run make lint first."; exit 1; }
	$(LOCK) requirements.txt pyproject.toml --all-extras --group test --output-file requirements-all.lock
	$(LOCK) requirements.txt --constraint requirements-all.lock --output-file requirements.lock
	$(LOCK) pyproject.toml --extra serve --constraint requirements.lock --output-file requirements-serve.lock

# One tool and nothing of its requirements in the locks: a release needs it, the pipeline does not.
release: $(READY_FOR_TESTS)  ## make VERSION=0.2.0 of what is committed: pyproject.toml, CHANGELOG.md, a commit and a tag
	@[ -n "$(VERSION)" ] || { echo "Say which version: make release VERSION=0.2.0"; exit 1; }
	$(VENV)/bin/uv tool run --from bump-my-version==1.8.1 bump-my-version bump --new-version "$(VERSION)"
	@echo "Tag v$(VERSION) is made. To publish it: git push origin HEAD v$(VERSION)"

clean:  ## remove .venv and the tools' caches; data, models and DVC's cache stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* src/*.egg-info

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
		$(PIP) --no-build-isolation -e . && \
		cat $^ | sha256sum > $@; \
	fi

$(READY_FOR_TESTS): requirements-all.lock $(READY)
	@if [ -f $@ ] && sha256sum < $< | cmp -s - $@; then \
		touch $@; \
	else \
		echo "Adding what tests need to $(VENV): a minute and 1 GB, once."; \
		rm -f $@; \
		$(PIP) --require-hashes -r $< && \
		sha256sum < $< > $@; \
	fi
