# Two commands do the work: `make demo` and `make test`. Both make the virtual environment when it is missing or stale.
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
UV := $(shell command -v uv 2>/dev/null)

.PHONY: demo test sim drills fuzz check lint types format lock clean

demo: $(STAMP)
	$(VENV)/bin/lastmetre demo

test: check
	$(PY) -m pytest

check: lint types

# The long ones: a thousand seeds each.
sim: $(STAMP)
	$(PY) -m lastmetre.sim --seeds 1000

drills: $(STAMP)
	LASTMETRE_DRILL_SEEDS=1000 $(PY) -m pytest --timeout 3000 tests/drills

# Coverage-guided fuzzing of the GBCS readers, in an environment of its own: fuzz/README.md. Atheris wants CPython 3.11.
FUZZ_S ?= 3600
FUZZ_DIR ?= /tmp/lastmetre-fuzz
FUZZ_PYTHON ?= python3.11
FUZZ_RTDS ?=

fuzz: $(STAMP)
	test -x $(FUZZ_DIR)/venv/bin/python || $(FUZZ_PYTHON) -m venv $(FUZZ_DIR)/venv
	$(FUZZ_DIR)/venv/bin/python -m pip install --quiet --disable-pip-version-check atheris cryptography
	$(PY) fuzz/write_seeds.py $(FUZZ_DIR)/seeds $(FUZZ_RTDS)
	mkdir -p $(FUZZ_DIR)/corpus
	PYTHONPATH=$(CURDIR)/src $(FUZZ_DIR)/venv/bin/python fuzz/fuzz_decode.py $(FUZZ_DIR)/corpus $(FUZZ_DIR)/seeds \
		-artifact_prefix=$(FUZZ_DIR)/ -max_len=4200 -timeout=60 -max_total_time=$(FUZZ_S)

lint: $(STAMP)
	$(VENV)/bin/ruff check src tests examples
	$(VENV)/bin/ruff format --check src tests examples

types: $(STAMP)
	$(VENV)/bin/mypy

format: $(STAMP)
	$(VENV)/bin/ruff format src tests examples
	$(VENV)/bin/ruff check --fix src tests examples

# Every package is pinned by hash; nothing outside the lock is installed.
$(STAMP): pyproject.toml requirements/lock.txt
ifdef UV
	test -x $(PY) || $(UV) venv --quiet $(VENV)
	$(UV) pip install --quiet --python $(PY) --require-hashes -r requirements/lock.txt
	$(UV) pip install --quiet --python $(PY) --no-deps --no-build-isolation -e .
else
	test -x $(PY) || python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/lock.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endif
	touch $(STAMP)

# Needs uv. The lock names no index and takes nothing younger than a week.
lock:
	uv pip compile --quiet --all-extras --generate-hashes --no-emit-index-url --no-header --universal \
		--exclude-newer "$(shell date -u -d "7 days ago" +%F)" --python-version 3.11 pyproject.toml -o requirements/lock.txt
	uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --universal --constraint requirements/lock.txt \
		--exclude-newer "$(shell date -u -d "7 days ago" +%F)" --python-version 3.11 requirements/agent.in -o requirements/agent.txt

clean:
	rm -rf $(VENV) build dist demo-out
