# Everything on a machine that has only Python >= 3.11 and the package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core-installed
FULL := $(VENV)/.full-installed
PYTEST_FLAGS ?= -n auto --dist loadfile
SELECT ?= not slow

.PHONY: demo test check lint types docs site audit fuzz bench torture clean

demo: $(CORE) ## the main job, offline, on photos that ship with the project
	$(BIN)/closeup demo

test: $(FULL) ## all tests but the slow ones; `make test SELECT=` runs these too
	$(BIN)/python -m pytest $(PYTEST_FLAGS) -m '$(SELECT)'

check: SELECT =
check: lint types docs test ## what continuous integration runs: every test

lint: $(FULL)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(FULL)
	$(BIN)/mypy

docs: site ## the generated pages are up to date, no link is dead, no word misspelled
	$(BIN)/python tools/cli_reference.py --check
	$(BIN)/python tools/links.py
	$(BIN)/codespell

site: $(FULL) ## the site, in build/site; fails on a missing page, link or anchor
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

audit: $(FULL) ## licences and known vulnerabilities of what is installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[audit]'
	$(BIN)/python tools/licences.py
	$(BIN)/python tools/audit.py

FUZZ_SECONDS ?= 60
fuzz: $(FULL) ## damaged files for every reader, guided by coverage (half an hour)
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[fuzz]'
	set -e; for reader in $$($(BIN)/python -m tools.fuzz --list); do \
	  $(BIN)/python -m tools.fuzz $$reader --seconds $(FUZZ_SECONDS); done

bench: $(FULL) ## a small version of the benchmarks
	$(BIN)/python -m bench.quick

torture: $(FULL) ## kill, fill and freeze everything, for an hour or more
	$(BIN)/python tools/torture.py

$(BIN)/uv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Closeup needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.*

$(CORE): $(BIN)/uv pyproject.toml constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e .
	touch $@

$(FULL): $(BIN)/uv pyproject.toml constraints.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[torch,serve,dev]'
	touch $@ $(CORE)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
