# Each target sets up what it needs in .venv, once; it takes Python 3.11 or later with venv, and make.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.set-up
RUN := .venv/.set-up-run

TRYTON := .tryton/.set-up
PEERS := .bench/.set-up
NODE := examples/node/node_modules/.set-up

.PHONY: demo wheel test lint bench bench-check bench-kernels protos lock clean tryton node

demo: $(RUN) ## make up a distributor, load it, serve it, price a basket; goes on serving on a terminal
	$(BIN)/pricegrid demo

wheel: $(STAMP) ## source distribution and wheels in dist/, one of them with compiled kernels
	deploy/wheel.sh

test: $(STAMP) $(TRYTON) ## all tests
	$(BIN)/python -m pytest -n auto

lint: $(STAMP) ## style, types, protos, and generated code that is not what the protos say
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint proto
	proto/check.sh

bench: $(STAMP) $(PEERS) ## measures; results in bench/results, tables and plots in docs
	$(BIN)/python bench/run.py

bench-check: $(STAMP) ## a profile of a minute; fails if a ratio is far out of line
	$(BIN)/python bench/check.py

bench-kernels: $(STAMP) ## the kernels one by one, for who works on one
	$(BIN)/python -m pytest -q -p no:xdist bench/test_kernels.py

protos: $(STAMP) ## generates the Python code of proto/
	proto/generate.sh

tryton: $(TRYTON) ## Tryton, the ERP of the tests, in an environment of its own

node: $(NODE) ## the packages of examples/node, which its tests need; takes Node.js 18 or later with npm

lock: $(STAMP) ## works out the lock files again: requirements.lock and requirements-run.lock from pyproject.toml, Tryton's and bench's from their own lists
	$(BIN)/pip-compile --quiet --extra server --extra dev --generate-hashes --allow-unsafe --strip-extras --no-header \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	  --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --extra server --build-deps-for editable --constraint requirements.lock \
	  --generate-hashes --allow-unsafe --strip-extras --no-header \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	  --output-file requirements-run.lock pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	  --output-file examples/tryton/requirements.lock examples/tryton/requirements.in
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	  --output-file bench/requirements.lock bench/requirements.in

clean: ## removes what was set up and made
	rm -rf .venv .tryton .bench examples/node/node_modules .demo build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# What running needs and no more; pip is not quiet, but shortened to a line a package, so that one sees it work.
$(RUN): SHELL := bash
$(RUN): requirements-run.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; say make PYTHON=...")'
	@echo "installing $$(grep -c '^[^ #].*==' requirements-run.lock) packages into .venv"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@set -o pipefail; $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes \
	  -r requirements-run.lock | sed -un 's/^\(Collecting\|Processing\) \(.*\/\)\?\([^ ]*\).*/  \3/p; s/^Installing collected.*/unpacking them/p'
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; say make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ $(RUN)

$(TRYTON): examples/tryton/requirements.lock
	test -x .tryton/bin/python || $(PYTHON) -m venv .tryton
	.tryton/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r examples/tryton/requirements.lock
	@touch $@

# Beside .venv, not in it: redis-py would take hiredis up, and the tests run on what users get.
$(PEERS): $(STAMP) bench/requirements.lock
	rm -rf .bench
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --target .bench -r bench/requirements.lock
	@touch $@

$(NODE): examples/node/package.json examples/node/package-lock.json
	cd examples/node && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@
