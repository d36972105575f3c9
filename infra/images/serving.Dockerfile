# syntax=docker/dockerfile:1.7
# The API and nothing else: no Prefect, no Evidently, no MLflow server, no compiler, not root.
FROM python:3.11.14-slim-bookworm AS wheel
# only the packages serving may import; what builds them comes hashed from the lock, so the build is the reviewed one
COPY requirements.lock /build/
RUN awk '/^[a-z]/ {keep = /^(hatchling|packaging|pathspec|pluggy|trove-classifiers)==/} keep' \
        /build/requirements.lock > /build/build.lock \
    && pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: -r /build/build.lock
COPY pyproject.toml README.md LICENSE /build/
COPY poplift /build/poplift
COPY feature_repo /build/feature_repo
COPY serving /build/serving
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels /build

FROM python:3.11.14-slim-bookworm AS packages
RUN python -m venv /opt/venv
COPY requirements-serving.lock /build/
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: \
        -r /build/requirements-serving.lock
COPY --from=wheel /wheels /wheels
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM python:3.11.14-slim-bookworm
# LightGBM needs OpenMP; the package versions are those of the pinned base image's Debian release
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --home-dir /var/lib/poplift poplift
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TZ=UTC \
    POPLIFT_HOME=/var/lib/poplift \
    POPLIFT_API_HOST=0.0.0.0
WORKDIR /var/lib/poplift
USER 10001
VOLUME /var/lib/poplift
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["python", "-c", "from poplift.settings import load_settings; from serving.run import run; run(load_settings())"]
