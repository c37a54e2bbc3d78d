# The two commands of the README, and the linters. Everything goes into .venv; what is done
# already is not done again.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install -qq --disable-pip-version-check
CONFIG := configs/search/rdarts_nb201_digits.py
WORK_DIR := work_dirs/quickstart

# A stamp is named after the content of what it was installed from, and after this folder,
# since an editable installation breaks when its clone moves.
stamp = $(VENV)/.$(1)-$(shell { cat $(2); pwd; } | cksum | cut -d ' ' -f 1)
RUNTIME := $(call stamp,runtime,setup.py requirements/runtime.txt)
TESTS := $(call stamp,tests,requirements/tests.txt requirements/docs.txt)
DOCS := $(call stamp,docs,requirements/docs.txt)

OLDEST := .venv-oldest
OLDEST_PIP := $(OLDEST)/bin/python -m pip install -qq --disable-pip-version-check
FLOORS := $(OLDEST)/.floors-$(lastword $(subst -, ,$(RUNTIME)))-$(lastword $(subst -, ,$(TESTS)))

# Two pips must not write into one environment.
.NOTPARALLEL:
.PHONY: help quickstart install-detection browser arm test test-quick test-cpus test-python test-oldest test-faults docs lint clean

IN_PARALLEL := -n auto --maxprocesses 8 --dist worksteal
PYTEST := $(PY) -m pytest $(IN_PARALLEL)

help:
	@echo 'make quickstart  install what a search needs, search a cell on digits, compare it'
	@echo 'make install-detection  install mmdetection, and build the operators of mmcv (once)'
	@echo 'make test        install the rest, and run the tests (PYTEST_ARGS="..." for options)'
	@echo 'make test-quick  those of up to ten seconds each, without what only root installs'
	@echo 'make test-cpus   these as older CPUs compute, without the compiled kernels, on two threads'
	@echo 'make test-python PYTHON=python3.13  these with another Python, in an environment of its own'
	@echo 'make test-faults  a search in which each file operation in turn fails or ends the process'
	@echo 'make test-oldest  the tests, detection aside, with the oldest releases that'
	@echo '                 requirements/runtime.txt names, in .venv-oldest (Python 3.10 or 3.11)'
	@echo 'make docs        build the site of the documentation into build/site'
	@echo 'make lint        check style and format'
	@echo 'make clean       remove the environment and what tools left; work_dirs/ stays'
	@echo 'PYTHON=...       the Python to make .venv with (3.10 to 3.13; default: python3)'

quickstart: $(RUNTIME)
	@if [ -f $(WORK_DIR)/genotype.json ]; then \
	    echo 'Searched already: $(WORK_DIR)/genotype.json (remove $(WORK_DIR) to search anew)'; \
	elif [ -d $(WORK_DIR) ]; then \
	    $(PY) tools/train.py $(CONFIG) --work-dir $(WORK_DIR) --resume; \
	else \
	    $(PY) tools/train.py $(CONFIG) --work-dir $(WORK_DIR); \
	fi
	@$(PY) tools/analysis/compare_cells.py $(WORK_DIR)

# Says what it is about to build; quick where that is done.
install-detection: $(RUNTIME)
	@$(PY) tools/install_detection.py

test: $(RUNTIME) $(TESTS) install-detection browser arm
	@$(PYTEST) --cov=rdarts --cov-report=term $(PYTEST_ARGS)

test-quick: $(RUNTIME) $(TESTS)
	@$(PYTEST) -m 'not slow' $(PYTEST_ARGS)

# Every value of each setting, not every combination. Goes through all, whatever fails.
CPUS := \
    ATEN_CPU_CAPABILITY=avx2,ONEDNN_MAX_CPU_ISA=AVX2,OMP_NUM_THREADS=1 \
    ATEN_CPU_CAPABILITY=avx2,ONEDNN_MAX_CPU_ISA=SSE41,RDARTS_NATIVE=0,OMP_NUM_THREADS=2 \
    ATEN_CPU_CAPABILITY=default,ONEDNN_MAX_CPU_ISA=SSE41,OMP_NUM_THREADS=1 \
    ATEN_CPU_CAPABILITY=default,ONEDNN_MAX_CPU_ISA=AVX2,OMP_NUM_THREADS=2
test-cpus: $(RUNTIME) $(TESTS)
	@failed=; for cpu in $(CPUS); do \
	    settings=$$(echo $$cpu | tr , ' '); \
	    echo "as a CPU of $$settings"; \
	    env $$settings $(MAKE) --no-print-directory test-quick || failed="$$failed$$cpu\n"; \
	done; \
	if [ -n "$$failed" ]; then printf "failed:\n$$failed" | tr , ' ' >&2; exit 1; fi

# The environment is kept beside .venv, under the name of the Python.
test-python:
	@$(MAKE) --no-print-directory VENV=.venv-$(notdir $(PYTHON)) test-quick

# RDARTS_ALL_FAULTS=10: every tenth operation only.
test-faults: $(RUNTIME) $(TESTS)
	@RDARTS_ALL_FAULTS=$${RDARTS_ALL_FAULTS:-1} $(PYTEST) tests/test_engine/test_faults.py $(PYTEST_ARGS)

# Releases as old as numpy 1.26 and torch 2.4 have no wheels for the newest Pythons.
test-oldest: $(FLOORS)
	@$(OLDEST)/bin/python -m pytest $(IN_PARALLEL) --ignore tests/test_detection $(PYTEST_ARGS)

$(OLDEST)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 11))' 2> /dev/null || { \
	    echo "make test-oldest needs Python 3.10 or 3.11; $(PYTHON) is $$($(PYTHON) -V 2> /dev/null || echo not found)." \
	        'Choose another: make PYTHON=python3.11 test-oldest' >&2; exit 1; }
	@$(PYTHON) -m venv $(OLDEST)
	@touch $@

$(FLOORS): | $(OLDEST)/.created
	@echo 'Installing the oldest releases into $(OLDEST): up to 3 GB, some minutes, once ...'
	@sed -n 's/^\([a-z][^#]*\)>=/\1==/p' requirements/runtime.txt > $(OLDEST)/floors.txt
	@$(OLDEST_PIP) -r $(OLDEST)/floors.txt
	@$(OLDEST_PIP) -c $(OLDEST)/floors.txt -r requirements/tests.txt
	@$(OLDEST_PIP) --no-deps -e .
	@rm -f $(OLDEST)/.floors-* && touch $@

# Tests that need them are skipped where they are missing. Only root, as in a container, installs;
# where that fails, a stamp keeps it from being tried at each run.
APT := apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends
may_install = [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && [ ! -e $(1) ]
not_installed = { touch $(1); echo 'That failed: those tests will be skipped (rm $(1) to try again).'; }
NO_BROWSER := $(VENV)/.no-browser
NO_ARM := $(VENV)/.no-arm

browser: | $(VENV)/.created
	@if $(call may_install,$(NO_BROWSER)) && ! command -v chromium > /dev/null; then \
	    echo 'Installing Chromium for the tests of the report: a minute, once ...'; \
	    $(APT) chromium fonts-dejavu-core > /dev/null || $(call not_installed,$(NO_BROWSER)); \
	fi

# For the kernels' test on ARM.
arm: | $(VENV)/.created
	@if $(call may_install,$(NO_ARM)) && ! { command -v aarch64-linux-gnu-g++ && \
	    { command -v qemu-aarch64 || command -v qemu-aarch64-static; }; } > /dev/null; then \
	    echo 'Installing a compiler and an emulator for the tests on ARM: a minute, once ...'; \
	    $(APT) g++-aarch64-linux-gnu qemu-user-static > /dev/null || $(call not_installed,$(NO_ARM)); \
	fi

docs: $(RUNTIME) $(DOCS)
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo 'Open build/site/index.html in a browser.'

lint: $(TESTS)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

clean:
	rm -rf $(VENV) .venv-* build dist *.egg-info rdarts/.mim .pytest_cache .ruff_cache .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2> /dev/null || { \
	    echo "rdarts needs Python 3.10 to 3.13; $(PYTHON) is $$($(PYTHON) -V 2> /dev/null || echo not found)." \
	        'Choose another: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# PyTorch first, by itself: packages that build against it find it installed.
$(RUNTIME): | $(VENV)/.created
	@echo 'Installing PyTorch into $(VENV): up to 3 GB, some minutes, once ...'
	@$(PIP) $$(grep '^torch' requirements/runtime.txt)
	@echo 'Installing rdarts and what a search needs: about a minute, once ...'
	@$(PIP) -e .
	@rm -f $(VENV)/.runtime-* && touch $@

$(DOCS): | $(VENV)/.created
	@echo 'Installing what builds the site: half a minute, once ...'
	@$(PIP) -r requirements/docs.txt
	@rm -f $(VENV)/.docs-* && touch $@

$(TESTS): | $(VENV)/.created
	@echo 'Installing the test tools: half a minute, once ...'
	@$(PIP) -r requirements/tests.txt -r requirements/docs.txt
	@rm -f $(VENV)/.tests-* && touch $@
