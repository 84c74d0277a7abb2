# Two commands do all set-up on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

PAGE := $(addprefix web/,package.json package-lock.json vite.config.ts tsconfig.json index.html) $(wildcard web/src/* web/build/* web/public/*)
HAS_NODE = node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null

.PHONY: run test check check-page chromium format fuzz bench soak bench-api bench-api-peers bench-edge bench-gpu bench-image bench-skill bench-web check-client check-edr check-memory clean

run: .venv/installed api/static/index.html
	@exec $(BIN)/nowcast run $(ARGS)

test: .venv/installed-dev check check-page api/static/index.html chromium
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadgroup

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fuzz: .venv/installed-dev
	$(BIN)/python -m tests.fuzz.run --count 10000 --workers 3 $(ARGS)

bench: .venv/installed-dev
	$(BIN)/python -m benchmarks.cycle
	$(BIN)/python -m benchmarks.latency
	$(BIN)/python -m benchmarks.latency --model edge

bench-web: .venv/installed-dev api/static/index.html chromium
	$(BIN)/python -m benchmarks.web

# The page. It is built when one of its sources is newer than it; without Node the API still works and says how to build it.
api/static/index.html: $(PAGE)
	@if $(HAS_NODE); then \
	  $(MAKE) --silent --no-print-directory web/node_modules/.package-lock.json && cd web && npm run --silent build -- --logLevel warn \
	    || echo "nowcast: the page could not be built, see above; the API works without it"; \
	else echo "nowcast: the page is not built: it needs Node 20.19 or newer; the API works without it"; fi

web/node_modules/.package-lock.json: web/package-lock.json
	@cd web && npm ci --silent --no-audit --no-fund && touch node_modules/.package-lock.json

check-page: api/static/index.html
	@if $(HAS_NODE); then cd web && npm run --silent check && npm run --silent test; \
	else echo "nowcast: the page's sources are not checked: that needs Node 20.19 or newer"; fi

# The browser that the page is tested with. Where it cannot be installed its tests are skipped and say so.
chromium:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
	  && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } >/dev/null \
	  || echo "nowcast: no Chromium and it cannot be installed: the page is not tested; apt-get install chromium"

bench-api: .venv/installed-dev
	$(BIN)/python -m benchmarks.api_speed $(ARGS)

# titiler and xpublish-edr beside it, each in an environment of its own.
bench-api-peers: .venv/installed-dev
	$(BIN)/python -m benchmarks.api_peers

check-memory: .venv/installed-dev
	$(BIN)/python -m benchmarks.api_memory

# A client generated from our OpenAPI document by openapi-python-client, in its own environment, reads the API.
check-client: .venv/installed-dev
	test -x .venv-client/bin/openapi-python-client || $(PYTHON) -m venv .venv-client
	.venv-client/bin/pip install --quiet openapi-python-client==0.29.1
	$(BIN)/python -m tests.api.generated_client

# OGC's JSON schemas (the folder SCHEMAS) and metno's sedr (its checkout SEDR, in an environment of its own) look at /edr of
# a served ensemble; docs/api.md says where both are. hypothesis: newer ones lack what sedr's schemathesis 3 uses.
SCHEMAS ?=
SEDR ?=
check-edr: .venv/installed-dev
	@test -n "$(SCHEMAS)$(SEDR)" || { echo "make check-edr SCHEMAS=folder and/or SEDR=checkout; docs/api.md says of what"; exit 1; }
	@test -z "$(SEDR)" || { test -x .venv-sedr/bin/python || $(PYTHON) -m venv .venv-sedr; \
	  .venv-sedr/bin/pip install --quiet --requirement "$(SEDR)/requirements.txt" hypothesis==6.135.26; }
	$(BIN)/python -m tests.api.edr_checks $(if $(SCHEMAS),--schemas "$(SCHEMAS)") $(if $(SEDR),--sedr "$(SEDR)")

# pysteps beside it, in an environment of its own; DATA is the folder of sequences.
DATA ?= ../shared/data/sequences
bench-skill: .venv/installed-dev
	$(BIN)/python -m benchmarks.skill --data $(DATA) $(ARGS)

# `edge` beside pysteps STEPS, and cold starts; on a quiet machine with four cores.
bench-edge: .venv/installed-dev
	$(BIN)/python -m benchmarks.edge --data $(DATA) $(ARGS)

bench-gpu: .venv/installed-dev
	$(BIN)/python -m benchmarks.gpu $(ARGS)

# What the images hold beyond their base, by installing what the Dockerfile installs.
bench-image: .venv/installed-dev
	$(BIN)/python -m benchmarks.image_size

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@ .venv/installed

# A simulated month with all that goes wrong, on a fast clock, then two hundred killed workers on SQLite and PostgreSQL:
# some fifteen and ten minutes on two idle cores. The results go to benchmarks/results/soak.json and kills.json.
soak: .venv/installed-dev
	$(BIN)/python -m tests.soak.month --days 30
	$(BIN)/python -m tests.soak.kills --kills 200

clean:
	rm -rf .venv var build *.egg-info api/static web/node_modules
