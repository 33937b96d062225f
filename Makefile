# Two commands do the work: `make demo` and `make test`. Both make the virtual environment when it is missing or stale.
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
UV := $(shell command -v uv 2>/dev/null)

.PHONY: demo test sim drills check lint types format lock clean

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

lint: $(STAMP)
	$(VENV)/bin/ruff check src tests
	$(VENV)/bin/ruff format --check src tests

types: $(STAMP)
	$(VENV)/bin/mypy

format: $(STAMP)
	$(VENV)/bin/ruff format src tests
	$(VENV)/bin/ruff check --fix src tests

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

clean:
	rm -rf $(VENV) build dist demo-out
