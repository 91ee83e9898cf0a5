"""The definitions of a Python file, found by name, so that an edit does not depend on their text."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, class or variable of a module or class; lines from 1, with decorators, comments and docstring."""

    name: str
    node: ast.stmt
    first: int
    last: int
    parent: ast.ClassDef | None = None

    @property
    def path(self) -> str:
        return f"{self.parent.name}.{self.name}" if self.parent else self.name

    def source(self, lines: list[str]) -> str:
        return "\n".join(lines[self.first - 1 : self.last])


def _names(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _first_line(node: ast.stmt, lines: list[str]) -> int:
    decorators = node.decorator_list if isinstance(node, Function | ast.ClassDef) else []
    first = min([node.lineno, *(each.lineno for each in decorators)])
    while first > 1 and lines[first - 2].lstrip().startswith("#") and not lines[first - 2].startswith("#!"):
        first -= 1
    return first


def _is_docstring(node: ast.stmt | None) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _of_body(body: list[ast.stmt], lines: list[str], parent: ast.ClassDef | None) -> Iterator[Definition]:
    for node, following in zip(body, [*body[1:], None], strict=False):
        described = following if isinstance(node, ast.Assign | ast.AnnAssign) and _is_docstring(following) else node
        last = (described or node).end_lineno or node.lineno
        for name in _names(node):
            yield Definition(name, node, _first_line(node, lines), last, parent)


@cache  # most files are asked about again and again, and never change
def definitions(source: str) -> tuple[Definition, ...]:
    """Those of the module, and those of its classes after each class."""
    lines, found = source.splitlines(), []
    for each in _of_body(ast.parse(source).body, lines, None):
        found.append(each)
        if isinstance(each.node, ast.ClassDef):
            found += _of_body(each.node.body, lines, each.node)
    return tuple(found)


def without_lines(source: str, spans: list[Definition]) -> str:
    """The source without these definitions, and without classes that have nothing but a docstring then."""
    gone = {number for each in spans for number in range(each.first, each.last + 1)}
    lines = source.splitlines(keepends=True)
    classes = [each for each in definitions(source) if isinstance(each.node, ast.ClassDef)]
    for each in classes:
        if isinstance(each.node, ast.ClassDef) and any(each.first < span.first <= each.last for span in spans):
            left = [node for node in each.node.body if node.lineno not in gone and not _is_docstring(node)]
            gone |= set() if left else set(range(each.first, each.last + 1))
    return "".join(line for number, line in enumerate(lines, 1) if number not in gone)


def without(source: str, path: str) -> str | None:
    """The source without this definition; None if there is no such one."""
    found = [each for each in definitions(source) if each.path == path]
    return without_lines(source, found) if found else None


def without_decorator(source: str, name: str) -> str | None:
    """The source without any `@name` or `@name(...)`; None if there is none."""
    gone: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        for each in node.decorator_list if isinstance(node, Function | ast.ClassDef) else []:
            called = each.func if isinstance(each, ast.Call) else each
            if isinstance(called, ast.Name) and called.id == name:
                gone |= set(range(each.lineno, (each.end_lineno or each.lineno) + 1))
    kept = [line for number, line in enumerate(source.splitlines(keepends=True), 1) if number not in gone]
    return "".join(kept) if gone else None


@cache
def used_names(node: ast.AST) -> set[str]:
    """Every name that the node uses, parameters included: a test's parameters are its fixtures."""
    found = set()
    for each in ast.walk(node):
        match each:
            case ast.Name(id=name) | ast.arg(arg=name):
                found.add(name)
    return found
