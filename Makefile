# Everything works in a virtual environment of its own, made on first use.

VENV := .venv
EDGE ?= .venv-edge
PYTHON ?= python3
# Modules are compiled when they are first imported, most of them never, and what was compiled is
# kept: without that, every process would compile PyTorch anew, for longer than a short command runs.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(VENV)/bin/pip install --quiet --disable-pip-version-check --no-compile \
	--constraint constraints.txt

.PHONY: demo test extras check edge format clean

demo: $(VENV)/demo  ## Export the bundled model, verify it, time it, predict the bundled portrait
	$(VENV)/bin/python examples/demo.py

test: $(VENV)/dev  ## Run all tests, a process for each core with one thread of PyTorch
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -q --numprocesses auto --dist loadscope \
		--no-loadscope-reorder

extras: $(VENV)/dev  ## Install and run every documented combination of extras, each by itself
	OMP_NUM_THREADS=2 $(VENV)/bin/pytest -q -s -m extras tests/test_extras.py tests/test_edge_install.py

check: $(VENV)/dev  ## Lint, format and types, the types as a user of the wheel sees them
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	rm -rf build
	$(PIP) --no-deps --target build/typed .
	cd build/typed && ../../$(VENV)/bin/mypy --num-workers auto --config-file ../../pyproject.toml \
		-p halnet

edge:  ## Install what an edge box needs, without PyTorch, into an environment of its own
	rm -rf $(EDGE) build
	$(PYTHON) -m venv $(EDGE)
	$(EDGE)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt '.[onnxruntime]'
	@echo "$$(du -sm $(EDGE) | cut -f1) MB in $(EDGE)"

format:  ## Format and mend what ruff can mend
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:  ## Remove the environment and all build output
	rm -rf $(VENV) $(EDGE) build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: pyproject.toml setup.cfg constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[export,onnxruntime,openvino]'
	touch $@

$(VENV)/dev: pyproject.toml setup.cfg constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	touch $@
