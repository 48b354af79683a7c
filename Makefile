# The commands that developers and CI run. `make` alone lists them.

ORT_VERSION := $(shell sed -n 's/^onnxruntime==\([^ ]*\).*/\1/p' scripts/onnxruntime.txt)
ORT_STAMP   := .onnxruntime/.fetched-$(ORT_VERSION)
CMAKE_VERSION := $(shell sed -n 's/^cmake==\([^ ]*\).*/\1/p' scripts/cmake.txt)
# Nothing to bring where CMake is installed or named.
CMAKE_STAMP := $(if $(CMAKE)$(shell command -v cmake 2>/dev/null),,.cmake/.fetched-$(CMAKE_VERSION))
STARTER     := .starter/efficientnet_lite0.safetensors
GRAFT       := target/release/graft
VENV        := .parity/venv
VENV_STAMP  := .parity/.installed
PYTHON      ?= python3
CARGO       ?= cargo

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: requirements
requirements: ## say what is missing that building graft needs
	@CARGO="$(CARGO)" CC="$(CC)" PYTHON="$(PYTHON)" sh scripts/requirements.sh

.PHONY: serve
serve: build starter ## build and serve on 127.0.0.1:8080: EfficientNet-Lite0 at once, VGG16 and InceptionV3 beside it
	@GRAFT=$(GRAFT) exec sh scripts/serve.sh $(STARTER) vgg16 inception_v3

.PHONY: build
build: requirements cmake library ## build target/release/graft and bring the ONNX Runtime library
	$(CARGO) build --release --locked --bin graft

.PHONY: cmake
cmake: $(CMAKE_STAMP) ## bring CMake into .cmake, where none is installed: every build needs it

.cmake/.fetched-%: scripts/fetch-cmake.sh scripts/cmake.txt | requirements
	@PYTHON=$(PYTHON) sh scripts/fetch-cmake.sh .cmake
	@rm -f .cmake/.fetched-* && touch $@

.PHONY: library
library: $(ORT_STAMP) ## bring the ONNX Runtime library into .onnxruntime

$(ORT_STAMP): scripts/fetch-onnxruntime.sh scripts/onnxruntime.txt | requirements
	@PYTHON=$(PYTHON) sh scripts/fetch-onnxruntime.sh onnxruntime .onnxruntime
	@rm -f .onnxruntime/.fetched-* && touch $@

.PHONY: starter
starter: $(STARTER) ## bring EfficientNet-Lite0's weights into .starter

$(STARTER): scripts/fetch-starter.sh scripts/starter.py | requirements
	@PYTHON=$(PYTHON) sh scripts/fetch-starter.sh .starter
	@touch $@

.PHONY: test
test: cmake library starter ## run the tests
	@CARGO="$(CARGO)" CC="$(CC)" PYTHON="$(PYTHON)" sh scripts/requirements.sh git curl
	@$(PYTHON) -m unittest discover --quiet --start-directory tests/scripts
	$(CARGO) test --locked --doc
	@CARGO="$(CARGO)" sh tests/run.sh

.PHONY: check
check: requirements fmt-check lint docs python-check ## formatting, lints, API documentation: warnings are errors

.PHONY: parity
parity: build $(VENV_STAMP) ## compare every layer with Keras over HTTP (minutes, 12 GB of memory)
	$(VENV)/bin/python tests/parity/parity.py --graft $(GRAFT) $(PARITY_ARGS)
	$(VENV)/bin/python tests/parity/from_keras.py --graft $(GRAFT)

.PHONY: parity-lite0
parity-lite0: build starter .parity/.installed-lite0 ## compare every layer of EfficientNet-Lite0 with PyTorch (a minute, and PyTorch's download)
	.parity/lite0/bin/python tests/parity/lite0.py --graft $(GRAFT) --weights $(STARTER) --photos tests/fixtures

.parity/.installed-lite0: tests/parity/requirements-lite0.txt
	$(PYTHON) -m venv .parity/lite0
	.parity/lite0/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

.PHONY: trajectory
trajectory: cmake library $(VENV_STAMP) ## compare twenty training steps with Keras, batch by batch (minutes; WEIGHTS=FILE.h5 PHOTOS=DIR)
	$(VENV)/bin/python tests/parity/trajectory.py prepare $(if $(WEIGHTS),--weights $(WEIGHTS)) $(if $(PHOTOS),--photos $(PHOTOS))
	$(CARGO) run --locked --quiet --example trajectory -- .parity/trajectory
	$(VENV)/bin/python tests/parity/trajectory.py compare

.PHONY: goldens
goldens: $(VENV_STAMP) ## write tests/fixtures/golden_*.json and trajectory.json anew with Keras
	$(VENV)/bin/python tests/goldens/layers_golden.py
	$(VENV)/bin/python tests/goldens/trajectory.py

$(VENV_STAMP): tests/parity/requirements.txt tests/parity/photos.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/parity/requirements.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement tests/parity/photos.txt
	@touch $@

.PHONY: attacks
attacks: build starter ## attack a started server at full size, and say who is served and what it holds (an hour; ATTACKS="--quick")
	$(PYTHON) -m tests.attacks --graft $(GRAFT) $(ATTACKS)

.PHONY: readme
readme: requirements .readme/.installed ## run the README's commands as a reader would (minutes; SLOW=1 for all of them)
	@$(PYTHON) tests/readme.py --python .readme/venv/bin/python $(if $(SLOW),--slow)

.readme/.installed:
	$(PYTHON) -m venv .readme/venv
	.readme/venv/bin/python -m pip install --quiet --disable-pip-version-check numpy
	@touch $@

.PHONY: fmt
fmt: ## format the code
	$(CARGO) fmt

.PHONY: fmt-check
fmt-check:
	$(CARGO) fmt --check

.PHONY: lint
lint: cmake
	$(CARGO) clippy --locked --all-targets -- -D warnings

.PHONY: docs
docs: cmake
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

.PHONY: python-check
python-check:
	@$(PYTHON) -c 'import ast, pathlib; [ast.parse(p.read_text(), str(p)) for d in ("scripts", "tests") for p in pathlib.Path(d).rglob("*.py")]'

.PHONY: openapi
openapi: cmake ## write openapi.yaml from the code
	$(CARGO) run --locked --quiet --bin graft -- openapi > openapi.yaml.new
	@mv openapi.yaml.new openapi.yaml

.PHONY: audit
audit: ## licences, known vulnerabilities and unused dependencies
	@CARGO="$(CARGO)" sh scripts/audit.sh

.PHONY: audit-tools
audit-tools: ## build what `make audit` needs: cargo-deny and cargo-machete (minutes, once)
	@CARGO="$(CARGO)" sh scripts/audit-tools.sh

.PHONY: client
client: requirements cmake library ## validate openapi.yaml, generate a client from it, make one call of each kind
	$(CARGO) build --locked --bin graft
	$(PYTHON) tests/client/run.py --graft target/debug/graft

.PHONY: clean
clean: ## remove what was built and fetched; models and data stay
	$(CARGO) clean
	rm -rf .cmake .onnxruntime .starter .client .parity .readme
