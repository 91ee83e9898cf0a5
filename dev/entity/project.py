"""What a project already has: entities, names that are taken, and changes that are not committed."""

import ast
import re
from pathlib import Path

from dev.entity.entity import Entity, Target
from dev.entity.errors import EntityError
from dev.entity.fields import TYPES, Fields
from dev.entity.names import Names

ROUTERS = Path("src/app/api/v1/__init__.py")
OWNERS = Path("src/app/api/owners.py")
_TABLE = re.compile(r'^ +__tablename__ = "(\w+)"', re.MULTILINE)
_OWNER = re.compile(r"^([A-Z_]+) = Owner\(", re.MULTILINE)
_FUNCTION = re.compile(r"^async def (\w+)\(", re.MULTILINE)


def paths_of(names: Names) -> dict[str, Path]:
    """The files of an entity, by template."""
    return {
        "model": Path(f"src/app/models/{names.entity}.py"),
        "schemas": Path(f"src/app/schemas/{names.entity}.py"),
        "crud": Path(f"src/app/crud/crud_{names.entities}.py"),
        "endpoints": Path(f"src/app/api/v1/{names.entities}.py"),
        "test": Path(f"tests/test_{names.entity}.py"),
    }


def find_entity(root: Path, names: Names, fields: Fields) -> Entity:
    """The entity, with the tables that its fields refer to."""
    targets = {field.target: _find_target(root, field.target, names) for field in fields.references}
    return Entity(names, fields, targets)


def _find_target(root: Path, name: str, names: Names) -> Target:
    model = root / "src/app/models" / f"{name}.py"
    if name == names.entity or not model.exists():
        raise EntityError(f"there is no type and no other entity {name!r}; types: {TYPES}, or an entity: tier:tier")
    table = _TABLE.search(model.read_text(encoding="utf-8"))
    if table is None:
        raise EntityError(f"{model.relative_to(root)} has no __tablename__")
    return Target(table[1], _find_owner(root, name))


def _find_owner(root: Path, name: str) -> str:
    """The entity's `Owner`, or nothing if it has none and needs none."""
    owner = name.upper() if name.upper() in _OWNER.findall((root / OWNERS).read_text(encoding="utf-8")) else ""
    if not owner and any(_deletes_rows(path, name) for path in (root / "src/app/api/v1").glob("*.py")):
        raise EntityError(
            f"an endpoint deletes rows of {name!r} permanently, and cached responses would still show them: "
            f"add {name.upper()} = Owner(...) to {OWNERS}, and changes=[...] to that endpoint (README 5.9)"
        )
    return owner


def _deletes_rows(endpoints: Path, name: str) -> bool:
    code = endpoints.read_text(encoding="utf-8")
    return ".hard_delete(" in code and re.search(rf"^from app\.schemas\.{name} import ", code, re.MULTILINE) is not None


def existing_files(root: Path, names: Names) -> list[Path]:
    return [path for path in paths_of(names).values() if (root / path).exists()]


def check_free(root: Path, names: Names) -> None:
    """Raises `EntityError` if the entity's names mean something else in the project."""
    source = root / "src/app"
    tables = {name for path in source.rglob("*.py") for name in _TABLE.findall(path.read_text(encoding="utf-8"))}
    if names.entity in tables:
        raise EntityError(f"there is a table {names.entity!r} already: choose another NAME")
    defined = {
        name for path in (source / "api").rglob("*.py") for name in _FUNCTION.findall(path.read_text(encoding="utf-8"))
    }
    wanted = [f"read_{names.entities}", *(f"{verb}_{names.entity}" for verb in ("read", "write", "patch", "erase"))]
    if taken := defined.intersection(wanted):
        raise EntityError(f"there is an endpoint {min(taken)} already: choose another NAME")


def check_bindings(path: Path, code: str) -> None:
    """Raises `EntityError` if a name of the entity hides another in the file."""
    bound: list[str] = []
    for node in ast.parse(code).body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            bound += [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            bound.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound += [target.id for target in targets if isinstance(target, ast.Name)]
    if taken := [name for name in bound if bound.count(name) > 1]:
        raise EntityError(f"{path} needs the name {taken[0]!r} for something else: choose another")


def imported_modules(code: str) -> set[str]:
    """The modules from which a file imports something."""
    nodes = ast.walk(ast.parse(code))
    return {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def registered(code: str, names: Names) -> str:
    """The file of the routers with the entity's router: its import where it belongs, its inclusion at the end."""
    lines = code.splitlines()
    new = f"from app.api.v1.{names.entities} import router as {names.entities}_router"
    imports = [index for index, line in enumerate(lines) if line.startswith("from app.api.v1.")]
    later = [index for index in imports if lines[index].split()[1] > new.split()[1]]
    place = later[0] if later else imports[-1] + 1 if imports else 0
    lines.insert(place, new)
    return "\n".join([*lines, f"router.include_router({names.entities}_router)"]) + "\n"


def unregistered(code: str, names: Names) -> str:
    router = re.escape(f"{names.entities}_router")
    return re.sub(
        rf"(?m)^(?:from app\.api\.v1\.{names.entities} import router as {router}|router\.include_router\({router}\))\n",
        "",
        code,
    )
