# The API for any host that runs containers. Guide: docs/guides/deployment.md
# Never built by us: there was no container engine where this was written. tests/deployment/test_dockerfile.py says what
# was checked, and runs these commands without a container.
FROM python:3.11-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/alexandria
# The pins first: this layer stays as long as they do.
COPY requirements-base.txt requirements-cloud.txt ./
RUN /opt/alexandria/bin/pip install --only-binary :all: -r requirements-cloud.txt
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN /opt/alexandria/bin/pip install --no-deps .

FROM python:3.11-slim-bookworm

RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin alexandria
COPY --from=build /opt/alexandria /opt/alexandria
ENV PATH=/opt/alexandria/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MODE=CLOUD PORT=8000
USER 10001
WORKDIR /tmp
EXPOSE 8000
# Touches no store.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/live', timeout=4)"]
# `exec`, so that the API gets SIGTERM itself and ends within 30 s with its requests finished.
# Migrations are a step of their own: docker run --env-file .env.cloud IMAGE alexandria migrate
CMD ["sh", "-c", "exec alexandria api --host 0.0.0.0 --port \"$PORT\""]
