# Commands of Parley. They need Python 3.11 or later and make; everything else is installed into .venv, from the
# hash-pinned locks in requirements/.

VENV := .venv
BIN := $(VENV)/bin
PACKAGES := protocol chassis gateway auth_service chat_service canary launcher observability deploy
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-input --require-hashes
SDK_TESTS := tests/system/npm
PEERS := benchmarks/peers/node
comma := ,
WEB_SOURCES := $(shell find web/src web/public web/index.html web/*.json web/*.ts 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help run canary test conformance operations-check advisories autobahn fuzz bench bench-quick soak faults lint types locks page docs dashboards observability-check images secrets sbom compose-check manifests clean venv run-deps test-deps

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: run-deps web/dist/index.html ## Start everything here and print the page's address; Ctrl-C stops it
	@exec $(BIN)/python -m launcher

canary: run-deps ## Have the canary chat with what `make run` started, and count what is lost; Ctrl-C stops it
	@$(call install,canary)
	@export CANARY_URL=$${CANARY_URL:-http://localhost:$${GATEWAY_PORT:-8000}} \
	  CANARY_AUTH_URL=$${CANARY_AUTH_URL:-http://localhost:$${AUTH_PORT:-8001}/auth} && exec $(BIN)/python -m canary

test: test-deps web/dist/index.html $(SDK_TESTS)/node_modules/.package-lock.json $(PEERS)/node_modules/.package-lock.json ## Run every test (Debian packages they need: see .ci/run)
	$(BIN)/python -m pytest
	@$(with-node) && cd web && npm test

conformance: test-deps web/dist/index.html ## Run the public suite of the Python SDK against the ring (on port 8000)
	@$(call install,conformance)
	@$(BIN)/python -m tests.conformance

operations-check: test-deps web/dist/index.html ## Do what docs/operations.md tells: restore backups, lose NATS nodes, sit behind proxies
	@$(call install,proxies)
	$(BIN)/python -m pytest tests/operations

advisories: venv ## Fail when a lock pins a release with a known hole (of those in requirements/advisories.toml)
	@$(BIN)/python -m deploy.advisories

autobahn: test-deps ## Put Autobahn's fuzzing client to the gateway's WebSocket (needs Python 2.7: PYTHON2, or on PATH)
	@$(BIN)/python -m tests.autobahn $(CASES)

fuzz: test-deps web/dist/index.html ## Fuzz what reads others' bytes, for FUZZ_SECONDS (60), and the auth API by its description
	@cmp -s requirements/fuzz.txt $(VENV)/fuzz/fuzz.txt || { echo "parley: installing requirements/fuzz.txt" && \
	  $(BIN)/python -m venv --clear $(VENV)/fuzz && $(VENV)/fuzz/bin/$(subst $(BIN)/,,$(PIP)) --quiet -r requirements/fuzz.txt && \
	  cp requirements/fuzz.txt $(VENV)/fuzz/fuzz.txt; }
	@$(BIN)/python -m tests.fuzz $(FUZZ)

bench: test-deps web/dist/index.html $(PEERS)/node_modules/.package-lock.json ## Measure everything of docs/performance.md beside other servers and write it there: make bench ROWS=room,idle REPEATS=3 (or HELP=1)
	@$(call install,bench)
	@$(with-node) && $(BIN)/python -m benchmarks rows $(if $(HELP),--help,$(subst $(comma), ,$(ROWS)) $(if $(REPEATS),--repeats $(REPEATS)))

bench-quick: test-deps web/dist/index.html $(PEERS)/node_modules/.package-lock.json ## Compare fan-out with other servers in 4 minutes (needs gcc, nginx-light, libnginx-mod-nchan); the last line is JSON
	@$(with-node) && $(BIN)/python -m benchmarks quick $(QUICK)

soak: test-deps web/dist/index.html ## Put load and faults on a ring for long: make soak SOAK='--minutes 60' (or --help)
	@$(BIN)/python -m tests.soak $(SOAK)

observability-check: test-deps web/dist/index.html ## Ask a real Prometheus every query of every dashboard and rule (needs Debian's prometheus)
	@$(BIN)/python -m tests.observability $(CHECK)

faults: test-deps web/dist/index.html ## Put faults on a system under load, count what is lost: make faults SET=short ROW=at (needs root; see .ci/run)
	@$(BIN)/python -m tests.faults --set $(or $(SET),all) $(if $(ROW),--row '$(ROW)') $(if $(MESSAGES),--messages $(MESSAGES)) $(FAULTS)

lint: test-deps ## Check style and order (ruff), the Dockerfile (hadolint) and its scripts (shellcheck)
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck compose/*/*.sh

types: test-deps ## Check types (mypy --strict)
	$(BIN)/python -m mypy --strict $(PACKAGES)

docs: test-deps ## Write the tables of settings, metrics and codes into docs/
	$(BIN)/python -m docs.tables
	$(BIN)/python -m docs.asyncapi

dashboards: test-deps ## Write Grafana's dashboards from observability/dashboards
	$(BIN)/python -m observability.dashboards

images: venv ## Build the image of every service: make images BUILD='--network host' (or any option of docker build)
	@$(BIN)/python -m deploy.images -- $(BUILD)

secrets: run-deps ## Make what docker compose and k8s need as secrets, and keep what is there
	@$(BIN)/python -m deploy.secrets

manifests: test-deps ## Render k8s/overlays into build/ and check them against two versions of Kubernetes (needs kubectl)
	@$(BIN)/python -m deploy.manifests

sbom: venv ## Write what the images are made of into sbom/ (CycloneDX)
	@$(call install,sbom)
	@mkdir -p sbom
	@for lock in run canary; do $(BIN)/python -W ignore -m cyclonedx_py requirements requirements/$$lock.txt \
	  --pyproject pyproject.toml --mc-type application --output-reproducible --of JSON \
	  -o sbom/$$lock.cdx.json || exit 1; done
	@$(with-node) && cd web && npm sbom --sbom-format cyclonedx --sbom-type application --package-lock-only --omit dev \
	  > ../sbom/page.cdx.json
	@ls -l sbom

compose-check: images test-deps ## Build the images, bring compose up, chat, restart gateways under load, tear down
	@$(BIN)/python -m tests.compose

page: web/dist/index.html ## Build the page, when its sources changed

locks: venv ## Compile requirements/*.in into hash-pinned locks; releases younger than a week are left out
	@$(call install,locks)
	cd requirements && for name in run server canary node locks sbom test conformance proxies bench fuzz; do \
	  ../$(BIN)/python -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header --exclude-newer '7 days' $$name.in -o $$name.txt || exit 1; done

clean: ## Remove what was installed and built; keeps data/
	rm -rf $(VENV) web/node_modules web/dist $(SDK_TESTS)/node_modules $(PEERS)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

# --- what the commands above stand on --------------------------------------------------------------------------

# Install one lock, unless the very same is installed. The copy is made last, so an interrupted install runs again.
install = cmp -s requirements/$(1).txt $(VENV)/$(1).txt || { echo "parley: installing requirements/$(1).txt" && \
  $(PIP) -r requirements/$(1).txt && cp requirements/$(1).txt $(VENV)/$(1).txt; }

# Made again when it is incomplete, or when the Python it was made with is gone.
venv:
	@$(BIN)/python -c 'import pip' 2>/dev/null || { \
	  for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; done; \
	  if [ -z "$$python" ]; then echo "parley: Python 3.11 or later is needed (or set PYTHON)" >&2; exit 2; fi; \
	  echo "parley: making $(VENV) with $$($$python --version)"; \
	  $$python -m venv --clear $(VENV) || { \
	    echo "parley: no virtual environment; Debian and Ubuntu keep that part in python3-venv" >&2; exit 2; }; }

run-deps: venv
	@$(call install,run)
	@$(call install,server)

test-deps: run-deps
	@$(call install,test)

# Put a Node that Vite works with (web/package.json, engines) on PATH: the machine's, else the one from PyPI.
node-fits = node -e 'const [a, b] = process.versions.node.split(".").map(Number); \
  process.exit(a >= 24 || (a == 22 && b >= 12) || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null && npm --version >/dev/null 2>&1
with-node = { { $(node-fits); } || { $(call install,node) && PATH="$(CURDIR)/$(BIN):$$PATH" && export PATH; }; }

web/node_modules/.package-lock.json: web/package.json web/package-lock.json | venv
	@echo "parley: installing what builds the page"
	@$(with-node) && cd web && npm ci --no-audit --no-fund && touch node_modules/.package-lock.json

$(SDK_TESTS)/node_modules/.package-lock.json: $(SDK_TESTS)/package.json $(SDK_TESTS)/package-lock.json | venv
	@echo "parley: installing what tests of the npm SDK need"
	@$(with-node) && cd $(SDK_TESTS) && npm ci --no-audit --no-fund && touch node_modules/.package-lock.json

$(PEERS)/node_modules/.package-lock.json: $(PEERS)/package.json $(PEERS)/package-lock.json | venv
	@echo "parley: installing the Node peers of the comparison"
	@$(with-node) && cd $(PEERS) && npm ci --no-audit --no-fund && touch node_modules/.package-lock.json

web/dist/index.html: $(WEB_SOURCES) web/node_modules/.package-lock.json | venv
	@echo "parley: building the page"
	@$(with-node) && cd web && npm run --silent build && touch dist/index.html
