"""Entries of lists, tuples, sets and dictionaries that use a part, such as a path among the paths that a test tries."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dev.parts.definitions import Definition


@dataclass(frozen=True, slots=True)
class Span:
    """From the first character up to, but not including, the last; in bytes of the source."""

    first: int
    last: int


def without_entries(source: str, definition: Definition, uses: re.Pattern[str]) -> str | None:
    """The source without those of the definition's entries that match; None if there are none."""
    encoded = source.encode()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    spans = [span for each in _collections(definition.node) for span in _matching(encoded, each, starts, uses)]
    for span in sorted(spans, key=lambda span: span.first, reverse=True):
        encoded = encoded[: span.first] + encoded[span.last :]
    changed = encoded.decode()
    return changed if spans and _is_valid(changed) else None


def _is_valid(source: str) -> bool:
    # An entry in parentheses of its own leaves them behind.
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def _collections(node: ast.AST) -> Iterator[ast.AST]:
    """The outermost ones: the parts of an entry belong together. Not what is assigned to several names."""
    if isinstance(node, ast.Assign) and any(isinstance(target, ast.Tuple) for target in node.targets):
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.List | ast.Tuple | ast.Set | ast.Dict) or _is_table(child):
            yield child
        else:
            yield from _collections(child)


def _is_table(node: ast.AST) -> bool:
    """The rows of `AUTHORIZATION = may.Table(...)` are entries too."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "Table"


def _elements(collection: ast.AST) -> Sequence[tuple[ast.expr, ast.expr]]:
    """The first and the last expression of each entry."""
    match collection:
        case ast.Dict(keys=keys, values=values):
            return [(key or value, value) for key, value in zip(keys, values, strict=True)]
        case ast.Call(args=rows):
            return [(each, each) for each in rows]
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            return [(each, each) for each in elements]
    return []


def _matching(encoded: bytes, collection: ast.AST, starts: list[int], uses: re.Pattern[str]) -> list[Span]:
    spans = [
        Span(
            starts[first.lineno - 1] + first.col_offset, starts[(last.end_lineno or 1) - 1] + (last.end_col_offset or 0)
        )
        for first, last in _elements(collection)
    ]
    matches = [uses.search(encoded[span.first : span.last].decode()) is not None for span in spans]
    if not any(matches) or len(matches) - sum(matches) < (2 if isinstance(collection, ast.Tuple) else 1):
        return []
    comma = re.compile(rb"\s*,?").match(encoded, spans[-1].last)
    ends = [*(following.first for _, following in pairwise(spans)), comma.end() if comma else spans[-1].last]
    reaching = [Span(span.first, end) for span, end in zip(spans, ends, strict=True)]
    return [span for span, matched in zip(reaching, matches, strict=True) if matched]
