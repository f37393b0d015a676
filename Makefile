# Each target sets up what it needs in .venv, once; it takes Python 3.11 or later with venv, and make.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.set-up
RUN := .venv/.set-up-run

TRYTON := .tryton/.set-up
PEERS := .bench/.set-up
NODE := examples/node/node_modules/.set-up
AXE := tests/axe/node_modules/.set-up

# the Python whose pip works for another environment, 22.3 or later; by its own path, for what a version manager puts in
# front of it may have work of its own to do after each call of pip, and two calls at once wait for each other
PIPS_PYTHON := import pip, sys; tuple(map(int, pip.__version__.split(".")[:2])) < (22, 3) or print(sys.executable)

# What Python compiles of a module is kept for the next process: packages are installed without it (--no-compile).
unexport PYTHONDONTWRITEBYTECODE

# Without the tests themselves: what only they use is dead as well, unless the whitelist says why not.
PRODUCT := atp bench cache columnar edi erp examples loaders pricegrid pricing_engine service .ci/vulture_whitelist.py
ALONE := not slow and not server and not redis and not tryton
FAST := $(ALONE) and not http2
AGREE := $(wildcard tests/test_atp_*agrees.py tests/test_*s_agree.py tests/test_atp_properties.py tests/test_service_*codec.py \
  tests/test_service_fast_path.py tests/test_live_in_order.py tests/test_live_positions.py tests/test_quota.py \
  tests/test_snapshot_verified.py tests/test_load_csv.py)
# these two have numba compile a kernel of their own around one of ours, or stop one at each step
WITHOUT_NUMBA := not processes_admit_exactly and not killed_at_any_store

.PHONY: demo wheel help test test-fast test-extension coverage lint dead-code lint-protos bench bench-check bench-commands bench-kernels docs protos lock clean tryton node axe

##@ Use it

demo: $(RUN) ## make up a distributor, load it, serve it, price a basket; goes on serving on a terminal
	$(BIN)/pricegrid demo

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "%s%s\n", between, substr($$0, 5); between = "\n" } \
	  /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

wheel: $(STAMP) ## source distribution and wheels in dist/, one of them with compiled kernels
	deploy/wheel.sh

##@ Change it

test-fast: $(STAMP) ## the tests without servers, Redis and Tryton, with fewer random cases; about a minute once kernels are compiled
	PRICEGRID_HYPOTHESIS_PROFILE=fast $(BIN)/python -m pytest -q -n auto --dist loadfile -m "$(FAST)"

test: $(STAMP) $(TRYTON) ## all tests
	$(BIN)/python -m pytest -n auto

test-extension: $(STAMP) ## what compares kernels with their references, by numba and again by an extension of the same kernels
	PRICEGRID_KERNEL_EXTENSION= PRICEGRID_HYPOTHESIS_PROFILE=fast $(BIN)/python -m pytest -q -p no:xdist $(AGREE)
	$(BIN)/python -m pricegrid.service.process.kernel_extension build/extension-of-tests
	PRICEGRID_KERNEL_EXTENSION="$$(echo build/extension-of-tests/*.so)" PRICEGRID_HYPOTHESIS_PROFILE=fast \
	  $(BIN)/python -m pytest -q -p no:xdist -k "$(WITHOUT_NUMBA)" $(AGREE)

coverage: $(STAMP) ## the tests of test-fast again, with those of HTTP/2, and which branches of the code they take; fails below the floor
	PRICEGRID_HYPOTHESIS_PROFILE=fast $(BIN)/python -m pytest -q -n auto --dist loadfile -m "$(ALONE)" --cov

lint: $(STAMP) ## style, types, dead code, protos that break callers, generated code that is not what the protos say
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) --no-print-directory dead-code lint-protos

dead-code: $(STAMP)
	$(BIN)/vulture
	$(BIN)/vulture $(PRODUCT)

lint-protos: $(STAMP)
	$(BIN)/buf lint proto
	$(BIN)/buf breaking proto --against proto/released.txtpb
	proto/check.sh

##@ Measure it

bench: $(STAMP) $(PEERS) ## measures; results in bench/results, tables and plots in docs
	$(BIN)/python bench/run.py

bench-check: $(STAMP) ## a profile of a minute; fails if a ratio is far out of line
	$(BIN)/python bench/check.py

bench-commands: $(STAMP) ## what commands cost, as ratios to a start of Python
	$(BIN)/python bench/commands.py --check

bench-kernels: $(STAMP) ## the kernels one by one, for who works on one
	$(BIN)/python -m pytest -q -p no:xdist bench/test_kernels.py

##@ Make what is committed

docs: $(STAMP) ## writes docs/cli.md, docs/metrics.md, the rules of deploy/prometheus and the dashboards of deploy/grafana from the code
	$(BIN)/python -m pricegrid.service.cli.reference
	$(BIN)/python -m pricegrid.service.metric_page
	$(BIN)/python -m deploy.prometheus.make_rules
	$(BIN)/python -m deploy.grafana.make_dashboards

protos: $(STAMP) ## generates the Python code of proto/
	proto/generate.sh

lock: $(STAMP) ## works out the lock files again: requirements.lock and requirements-run.lock from pyproject.toml, Tryton's and bench's from their own lists
	$(BIN)/pip-compile --quiet --extra server --extra kernels --extra traces --extra objects --extra dev --generate-hashes --allow-unsafe --strip-extras --no-header \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	  --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --extra server --extra kernels --build-deps-for editable --constraint requirements.lock \
	  --generate-hashes --allow-unsafe --strip-extras --no-header \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	  --output-file requirements-run.lock pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	  --output-file examples/tryton/requirements.lock examples/tryton/requirements.in
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	  --output-file bench/requirements.lock bench/requirements.in

##@ Set up

tryton: $(TRYTON) ## Tryton, the ERP of the tests, in an environment of its own

node: $(NODE) ## the packages of examples/node, which its tests need; takes Node.js 18 or later with npm

axe: $(AXE) ## what the tests of the console's pages look for obstacles with, beside Chromium; takes npm

clean: ## removes what was set up and made
	rm -rf .venv .tryton .bench examples/node/node_modules tests/axe/node_modules .demo build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage

# What running needs and no more; pip is not quiet, but shortened to a line a package, so that one sees it work. It looks
# at every file that there is of each package, on one core: two of them have half of that work each. The lock file names
# all that any of them needs, so there is nothing to resolve. A pip of the environment's own takes as long to be put
# there as twenty packages: Python's is used, if there is one that can work for another environment.
$(RUN): SHELL := bash
$(RUN): OUTER = $(shell $(PYTHON) -c '$(PIPS_PYTHON)' 2> /dev/null)
$(RUN): PIP = $(if $(OUTER),$(OUTER) -m pip --python $(BIN)/python,$(BIN)/python -m pip)
$(RUN): INSTALL = $(PIP) install --disable-pip-version-check --progress-bar off --no-compile --no-deps
$(RUN): SHORTLY = sed -un 's/^\(Collecting\|Processing\) \([^ ]*\/\)\?\([^ ]*\).*/  \3/p; s/^Installing collected.*/unpacking them/p'
$(RUN): requirements-run.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; say make PYTHON=...")'
	@echo "installing $$(grep -c '^[^ #].*==' requirements-run.lock) packages into .venv"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(if $(findstring --python,$(PIP)),--without-pip) .venv
	@awk '/^[a-z]/ { half = $$0 < "numpy" ? "first" : "second" } { print > (".venv/run-" half ".lock") }' requirements-run.lock
	@set -o pipefail; ($(INSTALL) --require-hashes -r .venv/run-first.lock | $(SHORTLY)) & first=$$!; \
	  $(INSTALL) --require-hashes -r .venv/run-second.lock | $(SHORTLY) && \
	  PYTHONWARNINGS=ignore $(INSTALL) --quiet --no-build-isolation -e .; second=$$?; wait $$first && exit $$second
	@touch $@

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; say make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -c 'import pip' 2> /dev/null || $(BIN)/python -m ensurepip
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

$(AXE): tests/axe/package.json tests/axe/package-lock.json
	cd tests/axe && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@
