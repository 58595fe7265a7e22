# Every target makes what it needs, on a fresh machine too; `make` alone lists them.
# Nothing is installed outside of $(VENV). Another interpreter: make test PYTHON=/path/to/python3.12

PYTHON ?= $(shell scripts/find-python)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
MODELS := examples/01_imu_classifier/models
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench example export wheel clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.ready-verify ## lint and optimize the example model: what irkit does, in a minute
	$(BIN)/irkit lint $(MODELS)/imu_classifier_bn.onnx
	$(BIN)/irkit optimize $(MODELS)/imu_classifier_bn.onnx -o demo/imu_classifier_bn-hailo8 --force

test: $(VENV)/.ready-test ## run all tests (ARGS="-k batchnorm" passes options to pytest)
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.ready-test ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.ready-test ## let ruff sort imports and format
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .

bench: $(VENV)/.ready-bench ## measure irkit against its peers
	$(BIN)/python -m benchmarks $(ARGS)

example: $(VENV)/.ready-torch $(VENV)/.ready-verify ## from training to the gates: examples/03_imu_fsq, in minutes (installs PyTorch)
	$(BIN)/python examples/03_imu_fsq/run.py $(ARGS)

export: $(VENV)/.ready-torch ## export the example's models again (installs PyTorch)
	$(BIN)/python examples/01_imu_classifier/export.py

wheel: $(VENV)/.ready-test ## build the wheel into dist/
	$(BIN)/python -m hatchling build -t wheel

clean: ## remove environments, caches and what the demo wrote
	rm -rf $(VENV) .venv-* build dist demo .mypy_cache .pytest_cache .ruff_cache .hypothesis

# $(VENV)/.ready-EXTRA: the extra is installed, as pyproject.toml has it now.
$(VENV)/.ready-%: pyproject.toml | $(BIN)/python
	$(PIP) install --editable '.[$*]'
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "irkit needs Python 3.10 to 3.13 with venv; none was found (set PYTHON=...)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
