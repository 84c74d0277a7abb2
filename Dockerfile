# Three images: the API (stateless, no engine), the worker (engines on the CPU), and the worker with TensorRT's lean runtime,
# which runs plans that were built elsewhere and can build none (docker run --gpus all). docs/operations.md says how to run them.
#   docker build --target api -t nowcast-api .      docker build --target worker -t nowcast-worker .
#   docker build --target engine -t nowcast-engine .
FROM node:22-slim AS page
WORKDIR /app/web
COPY web ./
RUN npm ci --no-audit --no-fund && npm run build

FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 NOWCAST_DATA_DIR=/data NOWCAST_HOST=0.0.0.0 NOWCAST_LOG_JSON=true
WORKDIR /app
COPY constraints.txt pyproject.toml README.md ./
COPY nowcast nowcast
COPY alembic alembic
COPY api api
COPY --from=page /app/api/static api/static
RUN useradd --system --uid 10001 nowcast && install -d -o nowcast /data

FROM base AS api
# what nowcast/ and api/ import, and nothing that computes: no openvino, no opencv, no torch
RUN pip install --no-cache-dir -c constraints.txt alembic fastapi fastapi-offline netCDF4 numpy pillow prometheus-client \
    'psycopg[binary]' pydantic-settings pyproj sqlalchemy structlog uvicorn xarray zstandard
COPY jobs/__init__.py jobs/logs.py jobs/serve.py jobs/supervise.py jobs/
USER nowcast
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('NOWCAST_PORT', 8000)}/healthz\", timeout=3)"]
CMD ["python", "-m", "jobs.serve"]

FROM base AS worker
COPY engines engines
COPY jobs jobs
RUN pip install --no-cache-dir -c constraints.txt -e .
USER nowcast
VOLUME /data
CMD ["nowcast", "worker"]

FROM worker AS engine
USER root
RUN pip install --no-cache-dir -c constraints.txt -e '.[lean]'
USER nowcast
