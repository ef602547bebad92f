# Everything a developer or a newcomer runs. `make` alone lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# The first interpreter on PATH that is new enough; `make PYTHON=/path/to/python` takes another.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python python3.13 python3.12 python3.11; do \
	"$$python" -c '$(NEW_ENOUGH)' 2>/dev/null && { echo "$$python"; break; }; done)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
TESTS := $(BIN)/python -m pytest
# Test processes: one per core, for more than a few only cost memory.
WORKERS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((cores < 8 ? cores : 8)))
PARALLEL := -n $(WORKERS) --dist loadfile
SETTINGS := pyproject.toml constraints.txt

.PHONY: help
help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 22

.PHONY: demo
demo: $(VENV)/.core  ## Install tacit and watch phones train an app recommender together (runs/demo)
	$(BIN)/tacit run app-recommendation --out runs/demo --overwrite

.PHONY: system
system:  ## Install the Debian packages of some tests: a database server, a browser (they skip, and say so, without)
	@missing=""; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	command -v ip >/dev/null || missing="$$missing iproute2"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing \
		>/dev/null || echo "could not install$$missing: the tests that need them skip"; \
	fi

.PHONY: test
test: system $(VENV)/.dev  ## Run the tests, the slow ones excepted
	$(TESTS) $(PARALLEL) -m "not slow"

.PHONY: test-slow
test-slow: $(VENV)/.dev  ## Run the slow tests
	$(TESTS) $(PARALLEL) -m slow

.PHONY: check
check: $(VENV)/.dev  ## Check format, lint, types, layers, and run the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(TESTS) $(PARALLEL) -m "not slow"

.PHONY: bench
bench: $(VENV)/.core  ## Measure tacit beside a naive loop and the machine's peak (benchmarks/results)
	$(BIN)/python -m benchmarks.run $(ARGS)

.PHONY: bench-peers
bench-peers: $(VENV)/.core  ## Measure tacit beside other frameworks, each in an environment of its own
	$(BIN)/python -m benchmarks.run_peers $(ARGS)

.PHONY: bench-recommendation
bench-recommendation: $(VENV)/.core  ## Hold the app recommender against others, for both losses
	$(BIN)/python -m benchmarks.recommendation $(ARGS)

.PHONY: bench-dp-sgd
bench-dp-sgd: $(VENV)/.core  ## Measure what a private local step costs, beside Opacus
	$(BIN)/python -m benchmarks.dp_sgd $(ARGS)

.PHONY: bench-secure
bench-secure: $(VENV)/.core  ## Measure what secure aggregation costs, beside Flower (takes some minutes)
	$(BIN)/python -m benchmarks.secure $(ARGS)

.PHONY: bench-poisoning
bench-poisoning: $(VENV)/.core  ## Measure what false reports do to accuracy, with and without robust rules
	$(BIN)/python -m benchmarks.poisoning $(ARGS)

.PHONY: bench-selection
bench-selection: $(VENV)/.core  ## Measure selection and closing rules on a fleet, in virtual time (about half an hour)
	$(BIN)/python -m benchmarks.selection $(ARGS)

.PHONY: bench-network
bench-network: $(VENV)/.core  ## Measure the network: rounds, uploads, idle participants, beside Flower's deployment
	$(BIN)/python -m benchmarks.network $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev  ## 1,000 rounds over the network with kills and cut connections (takes a while)
	$(TESTS) -n 0 -s -m slow tests/network/test_soak.py

.PHONY: bench-mnist
bench-mnist: $(VENV)/.core  ## Measure accuracy on MNIST against epsilon (takes an hour or two)
	$(BIN)/python -m benchmarks.mnist $(ARGS)

.PHONY: protocol
protocol: $(VENV)/.dev  ## Generate the messages of the network's protocol anew
	$(BIN)/python -m grpc_tools.protoc -Isrc --python_out=src --pyi_out=src src/tacit/network/wire/tacit.proto

.PHONY: docs
docs: $(VENV)/.docs  ## Build the documentation (site/)
	$(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

.PHONY: pictures
pictures: $(VENV)/.core  ## Draw the pictures of the documentation anew, from real runs
	$(BIN)/python docs/images/draw.py

.PHONY: clean
clean:  ## Remove the environment, caches and built pages; runs stay
	rm -rf $(VENV) build dist site src/*.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find src tests benchmarks examples docs -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: each says that an extra is installed as the settings ask, so that nothing is installed twice.
$(VENV)/pyvenv.cfg:
	@if [ -z "$(PYTHON)" ]; then echo "tacit needs Python 3.11 or newer; none is on PATH. Try: make PYTHON=/path/to/python" >&2; exit 1; fi
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/pyvenv.cfg $(SETTINGS)
	$(PIP) -e '.[network]'
	@touch $@

$(VENV)/.dev: $(VENV)/pyvenv.cfg $(SETTINGS)
	$(PIP) -e '.[dev]'
	@touch $(VENV)/.core $@

$(VENV)/.docs: $(VENV)/pyvenv.cfg $(SETTINGS)
	$(PIP) -e '.[docs]'
	@touch $(VENV)/.core $@
