"""Imported once by the process that `forks.py` forks: packages, and what of the application depends on no setting."""

import gc
import importlib
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"
_PACKAGES = (
    *("alembic.command", "alembic.context", "arq.cli", "asyncpg", "bcrypt", "email_validator", "fastapi.openapi.docs"),
    *("fastapi.staticfiles", "fastcrud", "gunicorn.app.wsgiapp", "hiredis", "jose.jwt", "logging.config"),
    *("mako.template", "pydantic.v1", "pydantic_settings", "redis.asyncio", "sqlalchemy.dialects.postgresql.asyncpg"),
    *("sqlalchemy.ext.asyncio", "starlette.middleware.cors", "uvicorn.lifespan.on", "uvicorn.loops.auto"),
    *("uvicorn.main", "uvicorn.protocols.http.auto", "uvicorn_worker"),
)
_APPLICATION = ("app.api", "app.core.setup", "app.core.worker.functions")

sys.path.insert(0, str(SOURCE))
for name in (*_PACKAGES, *_APPLICATION):
    importlib.import_module(name)
# A fork shares the memory that it does not write to, and its collections need not look through this.
gc.collect()
gc.freeze()
