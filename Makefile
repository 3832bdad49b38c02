SHELL := /bin/bash

# Everything built lives here, outside the checkout, under a name made from what it was built of. A class shares it.
CLASS := $(filter classroom,$(MAKECMDGOALS))
export EBPF_LAB_CACHE ?= $(if $(CLASS),/var/cache,$(or $(XDG_CACHE_HOME),$(HOME)/.cache))/first-ebpf
export PYTHONPATH := $(CURDIR)

SYSTEM_PYTHON := /usr/bin/python3
VENV := $(EBPF_LAB_CACHE)/python-$(shell cat binder/requirements.txt /etc/os-release | sha256sum | cut -c1-12)
PYTHON := $(VENV)/bin/python
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
packages = $(shell sed -n 's/ *\# *$(1)\b.*//p' binder/apt.txt)

.DEFAULT_GOAL := help
.PHONY: help lab classroom test mutations bench notebooks binder clean packages class-packages test-packages python vm

help: ## show this list
	@echo "Your first eBPF programs"
	@echo
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20
	@echo
	@echo "Each sets up what it needs first. EBPF_LAB=host or EBPF_LAB=vm overrides where notebooks run."

lab: vm ## set up the lab and open JupyterLab on the first notebook
	@$(PYTHON) -m helpers.lab open -- $(OPTIONS)

classroom: class-packages vm ## serve the course to a class (as root)
	@mkdir -p -m 700 $(EBPF_LAB_CACHE)/hub
	@cd $(EBPF_LAB_CACHE)/hub && exec $(PYTHON) -m jupyterhub -f $(CURDIR)/binder/jupyterhub_config.py $(OPTIONS)

test: vm test-packages ## run all tests
	@$(PYTHON) -m tests $(OPTIONS)

mutations: vm test-packages ## break one thing at a time and see the tests notice (as root)
	@$(PYTHON) -m tests.mutations $(OPTIONS)

bench: python test-packages ## measure how fast events reach a DataFrame (as root)
	@unshare --mount sh tests/with_headers.sh $(PYTHON) -m tests.bench $(OPTIONS)

notebooks: vm test-packages ## run all notebooks in the lab and save them with their outputs
	@$(PYTHON) -m tests.notebooks $(OPTIONS)

binder: python ## build the Binder image and rehearse Binder with it (as root)
	$(call install,$(call packages,host) $(call packages,binder))
	@$(PYTHON) -m tests.binder build
	@unshare --net $(PYTHON) -m tests.binder rehearse

clean: ## remove everything that was built (in EBPF_LAB_CACHE)
	rm -rf "$(EBPF_LAB_CACHE)"

vm: python
	@$(PYTHON) -m helpers.lab build

python: $(VENV)/ready
$(VENV)/ready: | packages
	@echo "  Python packages for JupyterLab (about 40 s) …"
	@rm -rf $(VENV) && mkdir -p -m $(if $(CLASS),755,700) $(EBPF_LAB_CACHE) && $(SYSTEM_PYTHON) -m venv $(VENV)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r binder/requirements.txt
	@# BCC is one directory of pure Python over a C library; linking it keeps Debian's other packages out.
	@ln -s /usr/lib/python3/dist-packages/bcc $$($(PYTHON) -c 'import site; print(site.getsitepackages()[0])')/
	@touch $@

define install
	@missing=$$(comm -23 <(echo $(1) | tr ' ' '\n' | sort -u) \
	    <(dpkg-query -W -f '$${db:Status-Status} $${Package}\n' | sed -n 's/^installed //p' | sort)); \
	if [ -n "$$missing" ]; then \
	    echo "  Debian packages:" $$missing "…"; \
	    $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive \
	        apt-get install -qq --no-install-recommends $$missing > /dev/null; \
	fi
endef

packages:
	$(call install,$(call packages,host))

class-packages:
	$(call install,$(call packages,host) $(call packages,class))

test-packages:
	$(call install,$(call packages,host) $(call packages,class) $(call packages,test))
