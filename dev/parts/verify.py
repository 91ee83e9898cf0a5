"""What a removal must not leave behind."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dev.parts.manifest import Part, read_parts
from dev.parts.staging import Staging

_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s#]*)(#[^)\s]+)?\)")
_HEADING = re.compile(r"(?m)^#{1,6} (.+)$")
_FENCED = re.compile(r"(?ms)^```.*?^```$")
_DURATIONS = "tests/support/durations.json"
_NOT_ABOUT_THE_CODE = ("dev/parts/", "tests/test_parts.py", "src/migrations/versions/", "CHANGELOG", _DURATIONS)
_COMMAND = re.compile(r"\bPARTS?=|make remove|make drill")
_ROOTS = {"app": "src", "src": ".", "dev": ".", "tests": ".", "deploy": ".", "benchmarks": "."}


def problems(staging: Staging, parts: list[Part]) -> Iterator[str]:
    """One line per problem, with the file and the line."""
    yield from broken_imports(staging)
    yield from broken_links(staging)
    for part in parts:
        yield from words_left(staging, part)


def broken_imports(staging: Staging) -> Iterator[str]:
    for name in staging.files("**/*.py"):
        for line, module, imported in _imports(staging.read(name)):
            if not _is_importable(staging.root, module, imported):
                yield f"{name}:{line}: imports {imported} from {module}, which is removed"


@cache  # the same files are read for each part
def _nodes(source: str) -> list[ast.AST]:
    """Every import and every definition of a name, at any depth: conditions and `try` included."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Name, ast.Import, ast.ImportFrom)
    nodes = ast.walk(ast.parse(source))
    return [n for n in nodes if isinstance(n, kinds) and not (isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))]


def _imports(source: str) -> list[tuple[int, str, str]]:
    """The line, the module and the name of each import from one of the project's modules."""
    return [
        (node.lineno, node.module, alias.name)
        for node in _nodes(source)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        if node.module.partition(".")[0] in _ROOTS
        for alias in node.names
    ]


def _is_importable(root: Path, module: str, name: str) -> bool:
    place = root / _ROOTS[module.partition(".")[0]] / module.replace(".", "/")
    file = place.with_suffix(".py") if place.with_suffix(".py").exists() else place / "__init__.py"
    if place.is_dir() and ((place / f"{name}.py").exists() or (place / name).is_dir()):
        return True
    return file.exists() and name in _bound(file.read_text(encoding="utf-8"))


@cache
def _bound(source: str) -> set[str]:
    """Every name that the module may define."""
    found: set[str] = set()
    for node in _nodes(source):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found |= {alias.asname or alias.name for alias in names}
    return found


@cache
def _anchors(text: str) -> set[str]:
    titles = _HEADING.findall(_FENCED.sub("", text))
    return {"#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(staging: Staging) -> Iterator[str]:
    for name in staging.files("*.md", "docs/**/*.md"):
        if name == "CHANGELOG.md":
            continue
        text = staging.read(name)
        for path, anchor in _LINK.findall(_FENCED.sub("", text)):
            target = (staging.root / name).parent / path if path else staging.root / name
            if not target.exists():
                # A link that had no target before is not the removal's.
                if ((staging.project / name).parent / path).exists():
                    yield f"{name}: links to {path}, which is removed"
            elif anchor and target.suffix == ".md" and anchor not in _anchors(target.read_text(encoding="utf-8")):
                yield f"{name}: links to {path}{anchor}, which is removed"


def words_left(staging: Staging, part: Part) -> Iterator[str]:
    """Not in the README's table of parts, whose rows name what goes together with a part."""
    if part.words is None:
        return
    row_of_a_part = re.compile(rf"^\| `({'|'.join(read_parts())})` \|")
    for name in staging.texts():
        text = staging.read(name)
        if name.startswith(_NOT_ABOUT_THE_CODE) or not part.words.search(text):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if not part.words.search(line) or _COMMAND.search(line) or row_of_a_part.search(line):
                continue
            if not (part.allowed and part.allowed.search(line)):
                yield f"{name}:{number}: still about {part.name}: {line.strip()[:100]}"
