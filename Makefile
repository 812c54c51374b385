# Every target that needs the environment depends on `setup`, which is instant once .venv is up to date.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

# Some images set it. Then each of the many processes that tests and runs start would compile torch's sources anew:
# seven seconds instead of two.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test test-long test-docs soak check site dist format parity bench chaos gpu-check clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP)  ## make .venv: the pinned dependencies and weakbox itself

# uv installs about four times faster than pip, but does not read pip's configuration: hand it over, the strongest source
# last (file sections before the environment), so that both ask the same registry. Where uv fails all the same, pip installs.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("weakbox needs Python 3.11 or newer: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@pip_config=$$($(BIN)/python -m pip config list | sed 's/^:env:/~/' | LC_ALL=C sort); \
	for pair in index-url=UV_DEFAULT_INDEX extra-index-url=UV_INDEX find-links=UV_FIND_LINKS \
			trusted-host=UV_INSECURE_HOST cert=SSL_CERT_FILE; do \
		name=$${pair##*=}; \
		value=$$(sed -nE "s/^(global|install|~)\.$${pair%%=*}='(.*)'$$/\2/p" <<<"$$pip_config" | tail -n 1 | sed 's/\\n/ /g'); \
		[ "$$name" != UV_FIND_LINKS ] || value=$${value// /,}; \
		if [ -n "$$value" ] && [ -z "$${!name:-}" ]; then export "$$name=$$value"; fi; \
	done; \
	export UV_INDEX_STRATEGY=unsafe-best-match UV_HTTP_TIMEOUT=$${UV_HTTP_TIMEOUT:-180}; \
	echo "uv pip install -c constraints.txt -e '.[dev]'"; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]' || { \
		echo "uv could not install; trying pip, which is slower"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	}
	@touch $@

demo: setup  ## the whole chain on the demo data set, about 8 minutes on 2 cores; ends with the report's place
	$(BIN)/weakbox run jobs/configs/demo.yaml
	$(BIN)/weakbox report jobs/configs/demo.yaml

# Runs on several Ray nodes first and alone; then all others by two processes.
test: setup  ## the tests that every change must pass (ARGS="tests/stages -k ddt" runs a part)
	$(if $(ARGS),,$(BIN)/pytest tests/cluster)
	$(if $(ARGS),$(BIN)/pytest $(ARGS),$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore tests/cluster)

test-long: setup  ## the tests that take minutes or start several Ray nodes
	$(BIN)/pytest -m '(long or cluster) and not gpu and not soak' --timeout 3600 $(ARGS)

test-docs: setup  ## every block of the tutorials, as a newcomer types them
	$(BIN)/pytest -m docs tests $(ARGS)

soak: setup  ## thousands of damaged roots, flipped bits and kills (an hour or two)
	$(BIN)/pytest -m soak --timeout 7200 $(ARGS)

check: setup  ## format, lint, types, import direction, open ends of types, shapes of arrays, dead and doubled code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tests.checks.typed_seams
	$(BIN)/python -m tests.checks.shapes
	$(BIN)/python -m tests.checks.dead_code
	$(BIN)/pylint --score=n pipeline stages jobs schemas weakbox

site: setup  ## the documents as a site, build/site; a broken link is an error
	$(BIN)/zensical build --strict --clean

dist: setup  ## wheel, sdist and the constraints of this version in dist/, checked
	rm -rf dist build/lib build/bdist.*
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/twine check --strict dist/*
	cp constraints.txt "dist/constraints-$$(basename dist/*.tar.gz .tar.gz | cut -d- -f2).txt"

format: setup  ## format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

parity: setup  ## compare with the reference numbers of WEAKBOX_GOLDEN
	$(BIN)/pytest tests/parity $(ARGS)

bench: setup  ## one measured comparison, TOPIC=pipeline for example; writes benchmarks/results
	@[ -n "$(TOPIC)" ] || { echo "make bench needs a topic: make bench TOPIC=pipeline"; exit 2; }
	$(BIN)/python -m benchmarks.run $(TOPIC)

chaos: setup  ## faults by seed in runs of mini.yaml (half an hour); writes benchmarks/results/chaos.json
	$(BIN)/python -m benchmarks.chaos $(ARGS)

# No setup here: this also runs on a GPU machine that has only Python, torch, torchvision, numpy, pyarrow, safetensors and OpenCV.
gpu-check:  ## the mathematics on this machine's GPU, results against the CPU's
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m benchmarks.gpu_check

clean:  ## remove .venv and caches; runs/ and data/ stay
	rm -rf $(VENV) *.egg-info build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
