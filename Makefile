# Everything works in a virtual environment of its own, made on first use.

VENV := .venv
EDGE ?= .venv-edge
EXTRAS ?= onnxruntime
EXAMPLES ?= 10000
CONSTRAINTS ?= constraints.txt
INSTALLED ?= tests/test_extras.py tests/test_edge_install.py
PYTHON ?= python3
# pip compiles nothing, because most modules are never imported. Python compiles a module when it is
# first imported and keeps the result. If it did not, every process would compile PyTorch again,
# which takes longer than a short command.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(VENV)/bin/pip install --quiet --disable-pip-version-check --no-compile \
	--constraint constraints.txt

.PHONY: demo test fuzz extras lowest check edge format clean

demo: $(VENV)/demo  ## Export the bundled model, verify it, time it, predict the bundled portrait
	$(VENV)/bin/python examples/demo.py

# If a test process crashes, the run ends. With a new process, pytest-xdist 3.8 could wait for ever.
test: $(VENV)/dev  ## Run all tests, a process for each core with one thread of PyTorch
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -q --numprocesses auto --dist loadscope \
		--no-loadscope-reorder --max-worker-restart 0

fuzz: $(VENV)/dev  ## Try EXAMPLES damaged files of each kind, other ones each time
	HALNET_FUZZ=$(EXAMPLES) OMP_NUM_THREADS=1 $(VENV)/bin/pytest -q --numprocesses auto tests/fuzz

extras: $(VENV)/dev  ## Install and run every documented combination of extras, each by itself
	CONSTRAINTS=$(abspath $(CONSTRAINTS)) OMP_NUM_THREADS=2 \
		$(VENV)/bin/pytest -q -s -m extras $(INSTALLED)

lowest: $(VENV)/dev  ## The same with the lowest versions that pyproject.toml allows
	$(VENV)/bin/python .ci/lowest.py > $(VENV)/lowest.txt
	$(MAKE) extras CONSTRAINTS=$(VENV)/lowest.txt

check: $(VENV)/dev  ## Check style and types, the types as a user of the wheel sees them
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	rm -rf build
	$(PIP) --no-deps --target build/typed .
	cd build/typed && ../../$(VENV)/bin/mypy --num-workers auto --config-file ../../pyproject.toml \
		-p halnet

edge:  ## Install halnet with EXTRAS (by default what an edge device needs) and print the size
	rm -rf $(EDGE) build
	$(PYTHON) -m venv $(EDGE)
	$(EDGE)/bin/pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) '.[$(EXTRAS)]'
	@echo "$$(du -sm $(EDGE) | cut -f1) MB in $(EDGE)"

format:  ## Format the code and fix what ruff can fix
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
	# The tests of servers use the client of Triton, whose requirements contradict constraints.txt.
	$(PIP) --no-deps tritonclient==2.73.0
	touch $@

# The tests of the page in a browser need this npm package; without npm they are skipped.
$(VENV)/onnxruntime-web: export/onnxruntime_web.py | $(VENV)/bin/python
	npm install --silent --no-audit --no-fund --ignore-scripts --prefix $@ \
		onnxruntime-web@$$(sed -n 's/^VERSION = "\([^"]*\)".*/\1/p' $<)
	touch $@
