# make demo: put lesions into a brain.  make test: run the tests.  make lint: style and types.
# All create .venv at first; later calls reinstall only when pyproject.toml or constraints.txt changed.

PYTHON ?= python3
OUTPUT ?= lesionaug-demo
PYTEST_ARGS ?=
WORKERS ?= 2
# Tests of a file share what is expensive to make.
AT_ONCE := -n $(WORKERS) --dist loadfile

BIN := .venv/bin
# setuptools lectures on every editable installation.
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check
PINS := -c constraints.txt

.PHONY: demo test slow test-torchio2 lint clean

demo: .venv/.demo
	$(BIN)/lesionaug demo --output $(OUTPUT) --overwrite

# Threads of torch that spin while they wait for each other would take the cores from other workers.
test slow test-torchio2: export OMP_NUM_THREADS = 1

test: .venv/.test
	$(BIN)/python -m pytest -m "not slow" $(AT_ONCE) $(PYTEST_ARGS)

slow: .venv/.test
	$(BIN)/python -m pytest -m slow $(AT_ONCE) $(PYTEST_ARGS)

test-torchio2: .venv-torchio2/.ready
	.venv-torchio2/bin/python -m pytest tests/integrations/test_torchio2.py $(PYTEST_ARGS)

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

clean:
	rm -rf .venv .venv-torchio2 build dist *.egg-info $(OUTPUT)

.venv/.core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Expected Python 3.11 or newer, got $$($(PYTHON) --version); call make PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --quiet $(PINS) pip setuptools
	$(PIP) install --quiet $(PINS) torch
	@touch $@

.venv/.demo: .venv/.core
	$(PIP) install --quiet $(PINS) --editable ".[demo]"
	@touch $@

.venv/.test: .venv/.demo
	$(PIP) install --quiet $(PINS) --group test --editable ".[anatomy,demo,dask,hub,monai,nnunet,pretrain,report]"
	@touch $@

# TorchIO 2 in an environment of its own, which finds all else in .venv.
.venv-torchio2/.ready: .venv/.test
	test -x .venv-torchio2/bin/python || $(BIN)/python -m venv .venv-torchio2
	echo "import site; site.addsitedir('$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')')" \
		> "$$(.venv-torchio2/bin/python -c 'import site; print(site.getsitepackages()[0])')/behind.pth"
	.venv-torchio2/bin/python -m pip --disable-pip-version-check install --quiet "torchio==2.0.0a2"
	@touch $@

# pyright reads no editable installation; the links are lesionaug.pretrain and lesionaug.integrations for it.
.venv/.lint: .venv/.test
	$(PIP) install --quiet $(PINS) --group lint
	mkdir -p .venv/pyright/lesionaug
	ln -sfn $(CURDIR)/lesionaug/__init__.py $(CURDIR)/pretrain $(CURDIR)/integrations .venv/pyright/lesionaug
	@touch $@
