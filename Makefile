# Everything a person does with this repository. `make help` lists it.

VENV ?= $(if $(NEWEST),.venv-newest,.venv)
JOBS ?= 2
ARGS ?=

# A shim of pyenv or conda can be on the PATH and still not run, so each candidate is tried.
FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c '$(FITS)' >/dev/null 2>&1 && { echo $$python; break; }; done)

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The front end of JupyterLab: built from extension/ into the package, and linked to where JupyterLab looks.
FRONT := pm_lab/labextension/package.json
FRONT_SOURCES := $(shell find extension/src extension/style extension/schema -type f) \
	extension/package.json extension/yarn.lock extension/tsconfig.json
LINK := $(VENV)/share/jupyter/labextensions/pm-lab-extension
NODE_FITS := process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)
WITH_NODE := export PATH="$(CURDIR)/$(BIN):$$PATH"; node -e '$(NODE_FITS)' 2>/dev/null
PYTEST = "$(BIN)/python" -m pytest

# numba compiles once into this folder, not once in every new process.
export NUMBA_CACHE_DIR := $(CURDIR)/$(VENV)/numba
# Notebooks run in other folders, where a relative path would lead elsewhere.
ifneq ($(PM_LAB_MIRROR),)
export PM_LAB_MIRROR := $(shell cd "$(PM_LAB_MIRROR)" 2>/dev/null && pwd || echo "$(PM_LAB_MIRROR)")
endif
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install front-end lab app test test-fast test-extension test-notebooks test-browser test-ui notebooks \
	bench lint lock clean distclean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

install: front-end  ## Create .venv with the exact versions of requirements.lock (NEWEST=1: the newest allowed)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c '$(FITS)' 2>/dev/null || { echo >&2 \
	"No fitting Python found: pm_lab needs Python 3.11, 3.12 or 3.13 with its venv module."; echo >&2 \
	"Install one (on Debian and Ubuntu also the package python3-venv), or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12"; \
	exit 1; }
	@"$(BIN)/python" -c '$(FITS)' 2>/dev/null || $(PYTHON) -m venv --clear "$(VENV)"
ifdef NEWEST
	HATCH_JUPYTER_BUILDER_SKIP_NPM=1 "$(BIN)/python" -m pip install --upgrade --upgrade-strategy eager -e '.[app,drug-response,test,dev]'
else
	@echo "Installing requirements.lock into $(VENV): two to four minutes, once."
	"$(BIN)/python" -m pip install -r requirements.lock
	HATCH_JUPYTER_BUILDER_SKIP_NPM=1 "$(BIN)/python" -m pip install --no-deps --no-build-isolation -e .
endif
	@touch "$@"

front-end: $(STAMP) $(FRONT)  ## Build the part that runs in JupyterLab's page (needs Node.js 20 or newer)
	@test ! -f $(FRONT) || test -L "$(LINK)" || "$(BIN)/jupyter-builder" develop . --overwrite

$(FRONT): $(FRONT_SOURCES) | $(STAMP)
	@if $(WITH_NODE); then echo "Building the front end: about one minute." && cd extension && \
	jlpm install --immutable && jlpm build:prod; else echo >&2 \
	"No Node.js 20 or newer found: the front end is not built. Everything but the viewer and the panel works."; fi

lab: front-end  ## Open JupyterLab on the welcome notebook (on a server: make lab ARGS=--no-browser)
	@"$(BIN)/pm-lab" doctor --extension
	@PATH="$(CURDIR)/$(BIN):$$PATH" exec "$(BIN)/python" -m jupyterlab --config=jupyter_lab_config.py $(ARGS)

app: $(STAMP)  ## Open the patient explorer in a browser (make app ARGS="my_cohort.h5ad --no-browser")
	@exec "$(BIN)/python" -m pm_lab.cli app $(ARGS)

test: front-end  ## Run every test: unit and reference, front end, notebooks, browser
	@$(MAKE) --no-print-directory test-fast
	@$(MAKE) --no-print-directory test-extension
	@$(MAKE) --no-print-directory test-notebooks
	@$(MAKE) --no-print-directory -j 2 --output-sync=target test-browser test-ui

test-fast: $(STAMP)  ## Run the unit and reference tests alone
	$(PYTEST) tests --ignore=tests/browser -n $(JOBS) --dist loadfile $(ARGS)

test-extension: front-end  ## Run the unit tests of the front end
	@if $(WITH_NODE); then cd extension && jlpm install --immutable && jlpm test; else echo >&2 \
	"Skipped: the front end's tests need Node.js 20 or newer."; test "$$CI" != true; fi

# On a copy, so that what a notebook writes beside itself stays in build/, and without the user's own start-up files.
test-notebooks: $(STAMP)  ## Run every notebook and compare its checked outputs (nbval)
	@rm -rf build/nbval && mkdir -p build && cp -R notebooks build/nbval
	@cp tests/notebooks/nbval_conftest.py build/nbval/conftest.py
	PM_LAB_PROGRESS=0 PM_LAB_OFFLINE=1 IPYTHONDIR="$(CURDIR)/build/ipython" $(PYTEST) build/nbval -n $(JOBS) --dist loadfile \
	--nbval-lax --nbval-current-env $(ARGS)

test-browser: front-end  ## Open JupyterLab and the HTML pages in Chromium
	$(PYTEST) tests/browser $(ARGS)

# Galata, JupyterLab's own test kit, drives a server that it starts itself.
test-ui: front-end  ## Drive the viewer and the panel in JupyterLab (Galata)
	@if $(WITH_NODE); then cd extension/ui-tests && export PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 && \
	jlpm install --immutable && jlpm test; else echo >&2 \
	"Skipped: Galata needs Node.js 20 or newer."; test "$$CI" != true; fi

notebooks: $(STAMP)  ## Execute every notebook into build/notebooks/*.html and print time and memory
	"$(BIN)/python" tests/notebooks/execute.py $(ARGS)

bench: $(STAMP)  ## Run every benchmark, one after the other
	@missed=; for script in benchmarks/*.py; do \
	echo "== $$script"; "$(BIN)/python" "$$script" || missed="$$missed $$script"; done; \
	test -z "$$missed" || { echo >&2 "Targets missed:$$missed"; exit 1; }

lint: $(STAMP)  ## Check code and notebooks with ruff
	"$(BIN)/python" -m ruff check .
	"$(BIN)/python" -m ruff format --check .
	@if $(WITH_NODE); then cd extension && jlpm install --immutable && jlpm lint; fi

lock:  ## Write requirements.lock anew from pyproject.toml (TORCH=x.y.z changes torch)
	$(PYTHON) .ci/lock.py $(TORCH)

clean:  ## Remove what was built and cached here; keep .venv
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis pm_lab/labextension extension/lib
	find pm_lab tests benchmarks -name __pycache__ -type d -exec rm -rf {} +

distclean: clean  ## Remove .venv and node_modules too
	rm -rf .venv .venv-newest extension/node_modules extension/ui-tests/node_modules
