# Everything a newcomer needs: `make demo` and `make test` set themselves up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MAP := app/map/dist/index.html
MAP_SOURCES := $(shell find app/map/web -path '*/node_modules' -prune -o -type f -print)

.DEFAULT_GOAL := help
.PHONY: help demo test check openapi format bench audit sbom lock clean

help: ## show this list
	@grep -E '^[a-z.]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv: $(VENV)/.ready $(MAP) ## prepare the environment alone

# The lock is complete and hashed, so pip resolves nothing (`--no-deps`): a set-up is the same on any day, with any pip
# since 22.3. `pip check` then proves that nothing is missing. The project itself is linked, not copied.
$(VENV)/.ready: requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up $(VENV) (once, about a minute)..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip check --disable-pip-version-check >/dev/null || { $(BIN)/python -m pip check; exit 1; }
	@touch $@

# Without npm's registry there is no map, and everything else works; a page that does not build is an error.
$(MAP): $(MAP_SOURCES) | $(VENV)/.ready
	@echo "Building the map..."
	@app/map/web/build $(abspath $(BIN)/python) || { \
	  test $$? -eq 75 && echo "Going on without the map: /map will say that it was not built. Try again with: make .venv"; }

demo: $(VENV)/.ready $(MAP) ## embedded Postgres, simulator, gateway and a moving fleet
	@$(BIN)/location-gateway demo

test: $(VENV)/.ready $(MAP) ## the whole test suite on embedded Postgres, with its coverage
	@$(BIN)/python -m pytest --numprocesses=3 --dist=loadfile --cov --cov-fail-under=95

check: $(VENV)/.ready $(MAP) ## format, lint, types and import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python .ci/squawk.py
	@app/map/web/build $(abspath $(BIN)/python) check || test $$? -eq 75

openapi: $(VENV)/.ready ## lint the OpenAPI document, and make and try clients from it
	@PYTHON=$(PYTHON) .ci/openapi/install $(VENV)/openapi
	@$(BIN)/python -m pytest tests/clients

format: $(VENV)/.ready ## rewrite the code as `check` wants it
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.ready ## the benchmarks behind the figures in benchmarks/README.md
	@$(BIN)/python -m benchmarks

audit: $(VENV)/.ready ## known vulnerabilities of what is shipped, and its licences
	@$(BIN)/python .ci/licences.py
	@PYTHON=$(PYTHON) .ci/audit $(VENV)/tools

sbom: $(VENV)/.ready ## a CycloneDX bill of materials of what is shipped, in sbom.json
	@PYTHON=$(PYTHON) .ci/sbom $(VENV)/tools sbom.json

lock: ## renew the hashed requirements (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q -U -o requirements.txt
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q -U -c requirements.txt -o requirements-dev.txt

clean: ## remove the environment and the demo's data
	rm -rf $(VENV) .data app/map/dist app/map/web/node_modules
