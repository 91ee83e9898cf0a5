"""The files that programs of this checkout read their settings from: `src/.env` and `.local/servers.env`."""

import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

_SECRET_KEY = re.compile(r"^SECRET_KEY=.*$", re.MULTILINE)
_HEADER = """\
# Written by `make run`: the servers that it has started for this checkout. Settings read this file last, so the
# environment and src/.env win, and a server whose host or port is set there is not taken from here at all.
"""


def _write_private(target: Path, text: str) -> None:
    descriptor, unfinished = tempfile.mkstemp(dir=target.parent, prefix=f"{target.name}.")  # readable by its owner only
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(unfinished).replace(target)


def make_env_file(folder: Path) -> bool:
    """Whether `.env` was made from `.env.example`, with a new secret key; an existing file is never changed."""
    target, example = folder / ".env", folder / ".env.example"
    if target.exists() or not example.exists():
        return False
    text = example.read_text(encoding="utf-8")
    _write_private(target, _SECRET_KEY.sub(f'SECRET_KEY="{secrets.token_hex(32)}"', text))
    return True


def write_servers_file(path: Path, variables: Mapping[str, str]) -> None:
    """Replaces the file; values may contain any character."""
    escaped = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in variables.items()}
    _write_private(path, _HEADER + "".join(f"{name}='{value}'\n" for name, value in escaped.items()))


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment for the programs of a run; what the user has set wins."""
    return {**changes, **{name: value for name, value in os.environ.items() if value}}
