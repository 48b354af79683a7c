# The commands that developers and CI run. `make` alone lists them.

ORT_VERSION := 1.32.0
ORT_STAMP   := .onnxruntime/.fetched-$(ORT_VERSION)
GRAFT       := target/release/graft
VENV        := .parity/venv
VENV_STAMP  := .parity/.installed
PYTHON      ?= python3
CARGO       ?= cargo

SERVER_HOST := $(or $(GRAFT__SERVER__HOST),127.0.0.1)
SERVER_PORT := $(or $(GRAFT__SERVER__PORT),8080)

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: serve
serve: build ## build, bring the weights, serve on 127.0.0.1:8080
	@GRAFT=$(GRAFT) sh scripts/ensure-model.sh vgg16
	@echo "serving on http://$(SERVER_HOST):$(SERVER_PORT) (documentation: /docs, stop: Ctrl-C)"
	@exec $(GRAFT) serve

.PHONY: build
build: library ## build target/release/graft and bring the ONNX Runtime library
	$(CARGO) build --release --locked --bin graft

.PHONY: library
library: $(ORT_STAMP) ## bring the ONNX Runtime library into .onnxruntime

$(ORT_STAMP): scripts/fetch-onnxruntime.sh
	@PYTHON=$(PYTHON) sh scripts/fetch-onnxruntime.sh onnxruntime==$(ORT_VERSION) .onnxruntime
	@rm -f .onnxruntime/.fetched-* && touch $@

.PHONY: test
test: fmt-check lint python-check docs units ## everything that must pass: format, lints, docs, tests

# Tests come last: the closing line of the runner is the closing line of `make test`.
.PHONY: units
units: library
	$(CARGO) test --locked --doc
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	  echo "$(CARGO) nextest run --locked"; $(CARGO) nextest run --locked; \
	else \
	  echo "cargo-nextest is not installed: running the same tests with cargo test"; $(CARGO) test --locked --lib --bins --tests; \
	fi

.PHONY: parity
parity: build $(VENV_STAMP) ## compare every layer with Keras over HTTP (minutes, 12 GB of memory)
	$(VENV)/bin/python tests/parity/parity.py --graft $(GRAFT) $(PARITY_ARGS)

.PHONY: trajectory
trajectory: library $(VENV_STAMP) ## compare twenty training steps with Keras, batch by batch (minutes; WEIGHTS=FILE.h5 PHOTOS=DIR)
	$(VENV)/bin/python tests/parity/trajectory.py prepare $(if $(WEIGHTS),--weights $(WEIGHTS)) $(if $(PHOTOS),--photos $(PHOTOS))
	$(CARGO) run --locked --quiet --example trajectory -- .parity/trajectory
	$(VENV)/bin/python tests/parity/trajectory.py compare

.PHONY: goldens
goldens: $(VENV_STAMP) ## write tests/fixtures/golden_*.json and trajectory.json anew with Keras
	$(VENV)/bin/python tests/goldens/layers_golden.py
	$(VENV)/bin/python tests/goldens/trajectory.py

$(VENV_STAMP): tests/parity/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

.PHONY: fmt
fmt: ## format the code
	$(CARGO) fmt

.PHONY: fmt-check
fmt-check:
	$(CARGO) fmt --check

.PHONY: lint
lint: ## clippy on all targets, warnings are errors
	$(CARGO) clippy --locked --all-targets -- -D warnings

.PHONY: docs
docs: ## build the API documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

.PHONY: python-check
python-check:
	@$(PYTHON) -c 'import ast, pathlib, sys; [ast.parse(p.read_text(), str(p)) for p in pathlib.Path("tests").rglob("*.py")]'

.PHONY: openapi
openapi: ## write openapi.yaml from the code
	$(CARGO) run --locked --quiet --bin graft -- openapi > openapi.yaml.new
	@mv openapi.yaml.new openapi.yaml

.PHONY: audit
audit: deny machete ## licences, advisories and unused dependencies

.PHONY: deny
deny: ## licences and advisories of the dependencies (cargo-deny)
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check; \
	else echo "skipped: cargo-deny is not installed (cargo install --locked cargo-deny)"; fi

.PHONY: machete
machete: ## unused dependencies (cargo-machete)
	@if $(CARGO) machete --version >/dev/null 2>&1; then $(CARGO) machete; \
	else echo "skipped: cargo-machete is not installed (cargo install --locked cargo-machete)"; fi

.PHONY: clean
clean: ## remove what was built and fetched; models and data stay
	$(CARGO) clean
	rm -rf .onnxruntime .parity .client

.PHONY: client
client: build ## validate openapi.yaml, generate a client from it, make one call of each kind (needs PyPI)
	$(PYTHON) tests/client/run.py --graft $(GRAFT)
