# `make demo` upscales the photograph in examples/; `make test` runs the tests. Each makes its own virtual
# environment, so nothing is needed beforehand but make and Python 3.11 or later.
#
#   PYTHON           the interpreter to build the environments with
#   TORCH_INDEX_URL  an index that pip searches for torch as well as its usual one. On Linux the usual one has
#                    only the large CUDA build; the small one for the CPU is had with
#                    make demo TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
#   PIP_ARGS         anything else for pip install
#   PYTEST_ARGS      anything else for pytest

PYTHON ?= python3
TORCH_INDEX_URL ?=
PIP_ARGS ?=
PYTEST_ARGS ?=

INSTALL = -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	$(if $(TORCH_INDEX_URL),--extra-index-url $(TORCH_INDEX_URL)) $(PIP_ARGS)
SOURCES := $(shell find src -type f -not -name '*.pyc')

.PHONY: demo test test-slow lint lint-style lint-types lint-layers lint-torchvision clean
.DELETE_ON_ERROR:

define CHECK_PYTHON
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python %d.%d is too old: Mezzotint needs 3.11 or later; name one with make PYTHON=..." % sys.version_info[:2])'
endef

.venv-demo/installed: pyproject.toml constraints.txt $(SOURCES)
	$(CHECK_PYTHON)
	@echo "Installing Mezzotint into .venv-demo (the first time this takes a few minutes) ..."
	@test -x .venv-demo/bin/python || $(PYTHON) -m venv .venv-demo
	@.venv-demo/bin/python $(INSTALL) --force-reinstall --no-deps .
	@.venv-demo/bin/python $(INSTALL) .
	@touch $@

.venv/installed: pyproject.toml constraints.txt
	$(CHECK_PYTHON)
	@echo "Installing Mezzotint with its test tools into .venv (the first time this takes a few minutes) ..."
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@.venv/bin/python $(INSTALL) --editable '.[train,dev]'
	@touch $@

demo: .venv-demo/installed
	@mkdir -p demo
	.venv-demo/bin/mezzotint upscale examples/dog.png -o demo/dog_x4.png --overwrite
	@.venv-demo/bin/python examples/side_by_side.py examples/dog.png demo/dog_x4.png demo/side_by_side.png
	@echo
	@echo "The photograph, four times larger: demo/dog_x4.png"
	@echo "Beside its input and bicubic:      demo/side_by_side.png"

test: .venv/installed
	.venv/bin/python -m pytest $(PYTEST_ARGS)

test-slow: .venv/installed
	.venv/bin/python -m pytest -m slow $(PYTEST_ARGS)

lint: lint-style lint-types lint-layers lint-torchvision

lint-style: .venv/installed
	.venv/bin/ruff check src tests examples training benchmarks tools .ci

lint-types: .venv/installed
	.venv/bin/pyright --pythonpath .venv/bin/python

lint-layers: .venv/installed
	.venv/bin/lint-imports

lint-torchvision: .venv/installed
	.venv/bin/python .ci/no_torchvision.py

clean:
	rm -rf .venv .venv-demo demo build dist
