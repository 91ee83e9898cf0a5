"""The migration of a new table, as `alembic revision --autogenerate` and its formatting write it."""

import hashlib
import re
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dev.entity.entity import OWNER_COLUMN, Entity
from dev.entity.errors import EntityError
from dev.entity.kinds import kind_of
from dev.entity.render import render

VERSIONS = Path("src/migrations/versions")
MAX_IDENTIFIER = 63
"""PostgreSQL cuts longer names off."""
_ASSIGNMENT = re.compile(r"^(down_revision|revision)\b[^=\n]*=(.*)$", re.MULTILINE)
_ID = re.compile(r"""["'](\w+)["']""")
_MIXINS = (
    'sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)',
    'sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True)',
    'sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True)',
    'sa.Column("is_deleted", sa.Boolean(), nullable=False)',
)


@dataclass(frozen=True, slots=True)
class Revision:
    """A committed migration."""

    path: Path
    id: str
    follows: frozenset[str]


def revisions(root: Path) -> list[Revision]:
    found = []
    for path in sorted((root / VERSIONS).glob("*.py")):
        values = dict(_ASSIGNMENT.findall(path.read_text(encoding="utf-8")))
        if ids := _ID.findall(values.get("revision", "")):
            found.append(Revision(path, ids[0], frozenset(_ID.findall(values.get("down_revision", "")))))
    return found


def head(root: Path) -> str | None:
    """The newest revision; None without any."""
    known = revisions(root)
    followed = {each for revision in known for each in revision.follows}
    heads = [revision.id for revision in known if revision.id not in followed]
    if len(heads) > 1:
        raise EntityError(f"the migrations have {len(heads)} heads: join them first with `alembic merge heads`")
    return heads[0] if heads else None


def is_released(root: Path, revision: Revision) -> bool:
    """Whether a version was released with it: `released` in pyproject.toml is the revision, or follows it."""
    tools = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    by_id = {each.id: each for each in revisions(root)}
    waiting = [str(tools.get("migrations", {}).get("released", ""))]
    while waiting:
        newest = waiting.pop()
        if newest == revision.id:
            return True
        waiting += by_id[newest].follows if newest in by_id else ()
    return False


def _columns(entity: Entity) -> list[str]:
    owner = [f'sa.Column("{OWNER_COLUMN}", sa.Integer(), nullable=False)'] if entity.fields.owned else []
    fields = [
        f'sa.Column("{field.column}", {kind_of(field).migrated}, nullable={field.optional})' for field in entity.stored
    ]
    return ['sa.Column("id", sa.Integer(), nullable=False)', *owner, *fields, *_MIXINS]


def _constraints(entity: Entity) -> list[str]:
    """In Alembic's order, which is that of the text."""
    table = entity.names.entity
    foreign = [
        f'sa.ForeignKeyConstraint(["{key.column}"], ["{key.table}.id"], '
        f'name=op.f("fk_{table}_{key.column}_{key.table}"), ondelete="{key.on_delete}")'
        for key in entity.foreign_keys
    ]
    unique = [
        f'sa.UniqueConstraint("{field.column}", name=op.f("uq_{table}_{field.column}"))'
        for field in entity.fields.unique
    ]
    return sorted([f'sa.PrimaryKeyConstraint("id", name=op.f("pk_{table}"))', *foreign, *unique])


def _indexes(entity: Entity) -> dict[str, str]:
    """Their columns, by name."""
    table = entity.names.entity
    found = {f"ix_{table}_{field.column}": f'"{field.column}"' for field in entity.fields.references}
    if entity.fields.owned:
        found[f"ix_{table}_{OWNER_COLUMN}_{table}_id"] = f'"{OWNER_COLUMN}", "id"'
    return dict(sorted(found.items()))


def check_identifiers(entity: Entity) -> None:
    """Raises `EntityError` if a constraint or an index would have too long a name."""
    names = [*re.findall(r'op\.f\("(\w+)"\)', " ".join(_constraints(entity))), *_indexes(entity)]
    for name in names:
        if len(name) > MAX_IDENTIFIER:
            raise EntityError(f"{name} is too long a name for PostgreSQL ({MAX_IDENTIFIER}): shorten NAME or the field")


def write_migration(entity: Entity, follows: str | None, now: datetime) -> tuple[Path, str]:
    """The file and its content; `now` is in UTC."""
    table, date = entity.names.entity, now.replace(tzinfo=None)
    revision = hashlib.sha256(f"{follows} {table}".encode()).hexdigest()[:12]
    indexes = _indexes(entity)
    created = [
        f'op.create_index(op.f("{name}"), "{table}", [{columns}], unique=False)' for name, columns in indexes.items()
    ]
    dropped = [f'op.drop_index(op.f("{name}"), table_name="{table}")' for name in reversed(indexes)]
    parts = (f'"{table}"', *_columns(entity), *_constraints(entity))
    content = render(
        "migration.py",
        {
            "words": entity.names.words,
            "revision": revision,
            "revises": f"Revises: {follows}" if follows else "Revises:",
            "down_revision": f'"{follows}"' if follows else "None",
            "date": str(date),
            "upgrade": ["op.create_table(", *(f"    {part}," for part in parts), ")", *created],
            "downgrade": [*dropped, f'op.drop_table("{table}")'],
        },
    )
    return VERSIONS / f"{date:%Y%m%d_%H%M}_{revision}_add_{table}.py", content


def utc_now() -> datetime:
    return datetime.now(UTC)
