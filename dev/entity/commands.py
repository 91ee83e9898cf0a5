"""Adding an entity and taking it back: what each command checks, writes and deletes, all of it or nothing."""

from collections.abc import Iterable
from pathlib import Path

from dev.entity import migration
from dev.entity.code import code_values
from dev.entity.entity import Entity
from dev.entity.errors import EntityError
from dev.entity.examples import test_values
from dev.entity.fields import parse_fields
from dev.entity.git import changes, is_pushed
from dev.entity.names import Names
from dev.entity.project import (
    ROUTERS,
    check_bindings,
    check_free,
    existing_files,
    find_entity,
    imported_modules,
    paths_of,
    registered,
    unregistered,
)
from dev.entity.render import render

Contents = dict[Path, str | None]
"""What each file is to contain; None for a file that is to be deleted."""
NOTHING_CHANGED = "Nothing was changed."


def contents(root: Path, entity: Entity) -> Contents:
    """All files that the entity needs."""
    values = {**code_values(entity), **test_values(entity)}
    special = {"crud", "endpoints", "test"} if entity.fields.owned else set()
    found: Contents = {}
    for template, path in paths_of(entity.names).items():
        code = render(f"{template}_of_owner.py" if template in special else f"{template}.py", values)
        check_bindings(path, code)
        found[path] = code
    path, code = migration.write_migration(entity, migration.head(root), migration.utc_now())
    found[path] = code
    found[ROUTERS] = registered((root / ROUTERS).read_text(encoding="utf-8"), entity.names)
    return found


def add(root: Path, name: str, fields: str, plural: str = "", *, force: bool = False) -> list[str]:
    """Writes an entity and returns what to tell; raises `EntityError` before anything is written."""
    names, parsed = Names.of(name, plural), parse_fields(fields)
    expected = list(paths_of(names).values())
    if existing := existing_files(root, names):
        if len(existing) < len(expected):
            raise EntityError(f"{existing[0]} exists already: choose another NAME, or move the file")
        return [f"There is an entity {name} already ({existing[0]}). {NOTHING_CHANGED}"]
    check_free(root, names)
    entity = find_entity(root, names, parsed)
    migration.check_identifiers(entity)
    wanted = contents(root, entity)
    _refuse_changes(root, force)
    write(root, wanted)
    created = [f"  {'changed' if path == ROUTERS else 'created'}  {path}" for path in wanted]
    test = paths_of(names)["test"]
    return [
        *created,
        f"Next: `make test ARGS={test}` and `make check`. `make run` applies the migration when it starts.",
    ]


def remove(root: Path, name: str, plural: str = "", *, force: bool = False) -> list[str]:
    """Deletes an entity's files, its router, and its migration if that was never released."""
    names = Names.of(name, plural)
    existing = existing_files(root, names)
    if not existing:
        return [f"There is no entity {name} ({paths_of(names)['model']}). {NOTHING_CHANGED}"]
    migrated = [each for each in migration.revisions(root) if each.path.name.endswith(f"_add_{names.entity}.py")]
    _refuse_use(root, names, existing)
    if not migrated:
        raise EntityError(f"{name} was not added by `make entity`: no migration's name ends with _add_{name}.py")
    wanted: Contents = dict.fromkeys(existing)
    routers = (root / ROUTERS).read_text(encoding="utf-8")
    wanted[ROUTERS] = unregistered(routers, names)
    path = migrated[0].path.relative_to(root)
    stays = _others_may_have_applied(root, migrated[0])
    if not stays:
        wanted[path] = None
    _refuse_changes(root, force, apart_from=[*wanted, path])
    write(root, wanted)
    told = [f"  {'deleted' if content is None else 'changed'}  {path}" for path, content in wanted.items()]
    if stays:
        after = f'`cd src && ../.venv/bin/alembic revision --autogenerate -m "remove {names.words}"` drops the table'
        return [*told, f"{path} stays, because others may have applied it: {after}."]
    return [*told, _after_removal(path, names.entity, "".join(migrated[0].follows))]


def _others_may_have_applied(root: Path, revision: migration.Revision) -> bool:
    is_last = migration.head(root) == revision.id
    path = revision.path.relative_to(root)
    return not is_last or migration.is_released(root, revision) or is_pushed(root, path)


def _after_removal(path: Path, table: str, previous: str) -> str:
    sql = f"""DROP TABLE "{table}"; UPDATE alembic_version SET version_num = '{previous}'"""  # noqa: S608 - shown only
    return f"If your database has applied {path.name}, run `make reset`, or in `make psql`: {sql};"


def _refuse_use(root: Path, names: Names, own: list[Path]) -> None:
    """Raises `EntityError` if other files import the entity's."""
    modules = {".".join(path.with_suffix("").parts).removeprefix("src.") for path in own}
    for path in sorted((*(root / "src/app").rglob("*.py"), *(root / "tests").rglob("*.py"))):
        if path.relative_to(root) in {*own, ROUTERS}:
            continue
        code = path.read_text(encoding="utf-8")
        if not any(module in code for module in modules):
            continue
        if used := modules.intersection(imported_modules(code)):
            raise EntityError(
                f"{path.relative_to(root)} uses {min(used)}: change it first, or remove that entity first"
            )


def _refuse_changes(root: Path, force: bool, apart_from: Iterable[Path] = ()) -> None:
    """Raises `EntityError` for changes that are not committed; those that a removal takes back do not count."""
    own = tuple(map(str, apart_from))
    changed = [path for path in changes(root) if not path.endswith(own)]
    if changed and not force:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise EntityError(f"there are changes that are not committed ({changed[0]}{more}): commit them, or add FORCE=1")


def write(root: Path, wanted: Contents) -> None:
    """Makes every file what it is to be; if one cannot be written, all are as before."""
    before = {path: (root / path).read_bytes() if (root / path).exists() else None for path in wanted}
    try:
        for path, content in wanted.items():
            _set(root / path, None if content is None else content.encode())
    except BaseException:
        for path, former in before.items():
            _set(root / path, former)
        raise


def _set(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(content)
