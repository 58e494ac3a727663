# Everything runs in .venv, made from constraints.txt when it is missing or stale.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CLIENTS := .venv-clients
PROFILE ?= params/demo
DATA ?=
OUT ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help reproduce gallery test clients lab check bench notebooks format clean

help:  ## show this list
	@echo "synthlib: from MRI magnitude images to realistic multi-coil raw data"
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 14 | sed 's/^/  make /'
	@echo "  variables:    PROFILE=params/paper-16coil DATA=/folder/of/fastMRI OUT=results/mine ARGS='--only 05'"

reproduce: $(READY)  ## run all notebooks, make every figure and table (PROFILE, DATA, OUT, ARGS)
	$(BIN)/synthlib reproduce $(PROFILE) $(if $(DATA),--data "$(DATA)") $(if $(OUT),--out "$(OUT)") $(ARGS)

gallery: $(READY)  ## notebook 03's gallery in the browser, without JupyterLab (PROFILE, DATA, OUT, ARGS)
	$(BIN)/synthlib gallery $(PROFILE) $(if $(DATA),--data "$(DATA)") $(if $(OUT),--out "$(OUT)") $(ARGS)

test: check  ## lint, types, layers, then all tests and notebooks
	$(BIN)/python -m pytest
	$(BIN)/python -m pytest --nbval --nbval-cell-timeout=600 notebooks -p no:cacheprovider

clients: $(CLIENTS)/.ready  ## beside other people's programs: our files opened, our phase and signal computed, in an environment of their own
	$(CLIENTS)/bin/python -m pytest tests/clients tests/scanner/test_references.py -p no:cacheprovider

lab: $(READY)  ## JupyterLab in this environment
	$(BIN)/jupyter lab notebooks

check: $(READY)  ## ruff, mypy and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## time against peers, side by side in one run
	$(BIN)/python -m tests.benchmarks

notebooks: $(READY)  ## execute all notebooks in place, with their tiny defaults
	$(BIN)/jupyter nbconvert --log-level=ERROR --to notebook --execute --inplace \
		--ExecutePreprocessor.store_widget_state=False notebooks/0*.ipynb
	$(BIN)/python -c "import sys; from synthlib.pipeline import strip; strip.settle(*sys.argv[1:])" notebooks/0*.ipynb

format: $(READY)  ## rewrite the code in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove .venv and .venv-clients (data and results stay)
	rm -rf $(VENV) $(CLIENTS)

# fastmri is installed without its dependencies: pyproject.toml says why.
$(READY): pyproject.toml constraints.txt requirements-fastmri.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found; install Python 3.11 or name one: make PYTHON=python3"; exit 1; }
	@echo "Setting up $(VENV): some minutes, about 2 GB on the disk, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -r requirements-fastmri.txt
	@touch $(READY)

# Too large for `make test`: MRpro, MONAI, DeepInverse and qsm-forward beside the project itself.
$(CLIENTS)/.ready: pyproject.toml constraints.txt requirements-fastmri.txt tests/clients/requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found; install Python 3.11 or name one: make PYTHON=python3"; exit 1; }
	@echo "Setting up $(CLIENTS): some minutes, about 3 GB on the disk, once."
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e . pytest -r tests/clients/requirements.txt
	$(CLIENTS)/bin/python -m pip install -qq --disable-pip-version-check --no-deps -r requirements-fastmri.txt
	$(CLIENTS)/bin/python -m pip install -qq --disable-pip-version-check --no-deps epyg==0.2.0  # asks for NumPy below 2, works with 2.4
	@touch $(CLIENTS)/.ready
