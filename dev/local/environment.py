"""What the programs of a local run are told: `src/.env`, and the variables that lead them to the local servers."""

import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import Protocol

from dev.services import PostgresServer, ValkeyServer

REDIS_PARTS = ("CACHE", "QUEUE", "RATE_LIMIT")
_SECRET_KEY = re.compile(r"^SECRET_KEY=.*$", re.MULTILINE)


class LocalSettings(Protocol):
    """What a local run needs of the application's settings."""

    POSTGRES_USER: str
    POSTGRES_PASSWORD: str
    POSTGRES_PORT: int
    POSTGRES_DB: str
    ADMIN_USERNAME: str
    ADMIN_PASSWORD: str


def make_env_file(folder: Path) -> bool:
    """Whether `.env` was made from `.env.example`, with a secret of its own; an existing file is never touched."""
    target, example = folder / ".env", folder / ".env.example"
    if target.exists() or not example.exists():
        return False
    text = _SECRET_KEY.sub(f'SECRET_KEY="{secrets.token_hex(32)}"', example.read_text(encoding="utf-8"))
    descriptor, unfinished = tempfile.mkstemp(dir=folder, prefix=".env.")  # readable by its owner only
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(unfinished).replace(target)
    return True


def redis_setting(settings: LocalSettings, name: str) -> str:
    """The first that is set of the cache's, the queue's and the limiter's, which share one local server."""
    values = (getattr(settings, f"REDIS_{part}_{name}", None) for part in REDIS_PARTS)
    return str(next((value for value in values if value), ""))


def child_environment(settings: LocalSettings, postgres: PostgresServer, valkey: ValkeyServer) -> dict[str, str]:
    """Our environment with the local servers in it, which win over `src/.env`."""
    variables = {
        "POSTGRES_SERVER": postgres.host,
        "POSTGRES_PORT": str(postgres.port),
        "POSTGRES_USER": settings.POSTGRES_USER,
        "POSTGRES_PASSWORD": settings.POSTGRES_PASSWORD,
        "POSTGRES_DB": settings.POSTGRES_DB,
    }
    for part in REDIS_PARTS:
        variables |= {
            f"REDIS_{part}_HOST": valkey.host,
            f"REDIS_{part}_PORT": str(valkey.port),
            f"REDIS_{part}_PASSWORD": valkey.password,
            f"REDIS_{part}_SSL": "false",
        }
    return {**os.environ, **variables}
