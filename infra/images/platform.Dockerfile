# syntax=docker/dockerfile:1.7
# Everything: flows and their worker, MLflow's and Prefect's servers, training, monitoring. Not root.
FROM python:3.11.14-slim-bookworm AS packages
RUN python -m venv /opt/venv
COPY requirements.lock /build/
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: \
        -r /build/requirements.lock

FROM python:3.11.14-slim-bookworm
# LightGBM needs OpenMP, Prefect pulls a flow's code with git; versions are those of the base image's Debian release
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --home-dir /var/lib/poplift poplift
COPY --from=packages /opt/venv /opt/venv
COPY --chown=10001:10001 . /app
# hatchling is in the lock, so the build needs no index; editable, because Feast and Prefect run from the folder
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation --editable /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TZ=UTC \
    POPLIFT_HOME=/var/lib/poplift
WORKDIR /app
USER 10001
VOLUME /var/lib/poplift
HEALTHCHECK --interval=60s --timeout=30s CMD ["poplift", "--help"]
CMD ["poplift", "--help"]
