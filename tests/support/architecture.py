"""The names in docs/architecture.md, and those in the code."""

import ast
import builtins
import re
from collections.abc import Iterator

from tests.support.readme import ROOT

DOCUMENT = ROOT / "docs" / "architecture.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
_BLOCK = re.compile(r"(?ms)^```.*?^```$")
_MARKED = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)#]+)")
_PATH = re.compile(r"[\w.-]+(/[\w.-]+)+|[a-z]\w*\.(py|conf|toml|md)|deploy|dev|benchmarks|tests")
_NAME = re.compile(r"[A-Za-z_]\w*")
_NOT_OURS = {"Host", "Origin", "kill", "make", "check", "false"}
_CODE_FOLDERS = ("src", "dev", "deploy")


def _marked() -> set[str]:
    """Everything in backticks, outside of pictures."""
    return set(_MARKED.findall(_BLOCK.sub("", TEXT)))


def paths() -> set[str]:
    """What looks like a file or a folder, the targets of links included."""
    return {each for each in _marked() if _PATH.fullmatch(each)} | {f"docs/{link}" for link in _LINK.findall(TEXT)}


def names() -> set[str]:
    """What looks like a function, a class, a setting or a module: each name of an expression."""
    expressions = (re.sub(r'".*?"| -\d|__init__.py', "", each) for each in _marked() if not _PATH.fullmatch(each))
    return {name for each in expressions for name in _NAME.findall(each)} - _NOT_OURS - set(dir(builtins))


def modules_of_the_picture() -> set[str]:
    """Those of the first picture, by their names without `app`; short names of nodes stand for labels."""
    picture = _BLOCK.findall(TEXT)[0].partition("\n")[2]
    labels = re.findall(r"\[\"?([^\]\"]+)\"?\]", picture)
    words = set(re.findall(r"[\w.]+", " ".join(labels)))
    nodes = {node for node in re.findall(r"\w+(?!\w|\[)", re.sub(r"\[.*?\]", "[]", picture)) if "[" not in node}
    declared = set(re.findall(r"(\w+)\[", picture))
    return words | (nodes - declared - {"flowchart", "TD"})


def undefined(names: set[str]) -> set[str]:
    """Those that are no name in the code, nor of a module or folder."""
    left = set(names)
    for path in (file for folder in _CODE_FOLDERS for file in (ROOT / folder).rglob("*.py")):
        left -= {path.stem, path.parent.name}
        code = path.read_text(encoding="utf-8")
        if not left.isdisjoint(re.findall(r"\w+", code)):
            left -= set(_names_of(ast.parse(code)))
    return left


def _names_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.keyword(arg=str(name)) | ast.Name(id=name) | ast.Attribute(attr=name):
                yield name
            case ast.alias(name=name):
                yield from name.split(".")
