"""The migration that drops a part's tables, written behind the newest one."""

import ast
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dev.parts.manifest import Part
from dev.parts.staging import Staging

VERSIONS = "src/migrations/versions"


def _constant(source: str, name: str) -> Any:
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return ast.literal_eval(node.value) if node.value else None
    return None


def _below(source: str) -> tuple[str, ...]:
    """What the migration is built on: one revision, or several if it merges them."""
    revisions = _constant(source, "down_revision") or ()
    return (revisions,) if isinstance(revisions, str) else tuple(revisions)


def newest_revision(staging: Staging) -> str:
    """The revision that no other is built on; raises `ValueError` if there are several."""
    sources = [staging.read(name) for name in staging.files(f"{VERSIONS}/*.py")]
    earlier = {revision for source in sources for revision in _below(source)}
    heads: list[str] = [
        revision for source in sources if (revision := _constant(source, "revision")) not in earlier and revision
    ]
    if len(heads) != 1:
        raise ValueError(
            f"there are {len(heads)} newest migrations in {VERSIONS}: merge them first (`alembic merge heads`)"
        )
    return heads[0]


def write(staging: Staging, part: Part) -> str | None:
    """The name of the new migration; None if the part has no tables or a former removal has written it."""
    slug = f"remove_{part.name.replace('-', '_')}"
    if part.migration is None or any(staging.files(f"{VERSIONS}/*_{slug}.py")):
        return None
    revision = secrets.token_hex(6)
    values = {"REVISION": revision, "DOWN": newest_revision(staging)}
    template = part.migration.read_text(encoding="utf-8")
    text = re.sub(r"\b(REVISION|DOWN)\b", lambda name: values[name[0]], template)
    name = f"{VERSIONS}/{datetime.now(UTC):%Y%m%d_%H%M}_{revision}_{slug}.py"
    staging.write(name, text)
    return Path(name).name
