SHELL := /bin/bash

# Everything built lives here, outside the checkout, under a name made from what it was built of. A class shares it.
CLASS := $(filter classroom,$(MAKECMDGOALS))
export EBPF_LAB_CACHE ?= $(if $(CLASS),/var/cache,$(or $(XDG_CACHE_HOME),$(HOME)/.cache))/first-ebpf
override EBPF_LAB_CACHE := $(if $(filter /%,$(firstword $(EBPF_LAB_CACHE))),,$(CURDIR)/)$(EBPF_LAB_CACHE)
export PYTHONPATH := $(CURDIR)

# What is asked for, and what is locked.
MADE_OF := { sed '/^.tool/,$$d' pyproject.toml; cat binder/requirements/*.txt; grep ^VERSION_CODENAME= /etc/os-release; } \
    2> /dev/null
VENV := $(EBPF_LAB_CACHE)/python-$(shell $(MADE_OF) | sha256sum 2> /dev/null | cut -c1-12)
PYTHON := "$(VENV)/bin/python"
SETUP := @sh binder/setup "$(VENV)"

.DEFAULT_GOAL := help
.PHONY: help lab classroom test lint lock mutations bench notebooks book binder rehearse clean packages vm

help: ## show this list
	@echo "Your first eBPF programs"
	@echo
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20
	@echo
	@echo "Each sets up what it needs first. EBPF_LAB=host or EBPF_LAB=vm overrides where notebooks run."

lab: ## set up the lab and open JupyterLab on the first notebook
	$(SETUP) lab
	@$(PYTHON) -m helpers.lab open -- $(OPTIONS)

classroom: ## serve the course to a class (as root)
	@mkdir -p -m 755 "$(EBPF_LAB_CACHE)"
	$(SETUP) vm class
	@mkdir -p -m 700 "$(EBPF_LAB_CACHE)/first-ebpf-hub"
	@cd "$(EBPF_LAB_CACHE)/first-ebpf-hub" && \
	    exec $(PYTHON) -m jupyterhub -f "$(CURDIR)/binder/jupyterhub_config.py" $(OPTIONS)

test: ## run all tests
	$(SETUP) vm class test
	@$(PYTHON) -m tests $(OPTIONS)

lint: ## check the code's format, its types and its docstrings
	$(SETUP) lint
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@$(PYTHON) -m tests.docstrings

# Each list that pyproject.toml names, after those before it, so that all of them can be in one environment.
LOCKS := dependencies lab test browser book classroom binder lint lock
lock: ## lock the Python packages that pyproject.toml names (OPTIONS=--upgrade: anew)
	$(SETUP) lock
	@cd binder/requirements && for list in $(LOCKS); do \
	    $(PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	        --custom-compile-command "make lock" $(OPTIONS) $$constraints --output-file $$list.txt \
	        $$([ $$list = dependencies ] && echo ../../pyproject.toml || echo --group ../../pyproject.toml:$$list) || exit; \
	    constraints="$$constraints --constraint $$list.txt"; \
	done

mutations: ## break one thing at a time and see the tests notice (as root)
	$(SETUP) vm class test
	@$(PYTHON) -m tests.mutations $(OPTIONS)

bench: ## measure how fast events and maps reach a DataFrame, and programs compile (as root)
	$(SETUP) vm class test
	@unshare --mount sh tests/with_headers.sh $(PYTHON) -m tests.bench $(OPTIONS)

notebooks: ## run all notebooks in the lab and save them with their outputs
	$(SETUP) vm class test
	@$(PYTHON) -m tests.notebooks $(OPTIONS)

book: ## make a book of the notebooks as they are saved, to read without running anything
	$(SETUP) python book
	@$(PYTHON) binder/book/build.py "$(EBPF_LAB_CACHE)/first-ebpf-book"

binder: ## build the Binder image, rehearse Binder and a cluster with it (as root)
	$(SETUP) python binder
	@$(PYTHON) -m tests.binder build
	@unshare --net $(PYTHON) -m tests.binder rehearse
	@unshare --net $(PYTHON) -m tests.binder cluster

rehearse: ## try the course on machines that boot, by software emulation: hours (as root)
	$(SETUP) python test
	@$(PYTHON) -m tests.fresh $(OPTIONS)

clean: ## remove everything that was built (in EBPF_LAB_CACHE)
	@python3 -m helpers.lab.cache

# Steps on the way, for the container.
packages:
	$(SETUP) packages
vm:
	$(SETUP) vm $(GROUPS)
