"""Lays Python code out as ruff does, which may not be installed yet when code is generated."""

import re

WIDTH = 120
_IMPORT = re.compile(r"from (?P<module>\S+) import (?P<names>.+)")
_ENDING = re.compile(r"[,:]?| -> .+:")
"""What may follow the bracket at which a line is split."""
_OPEN, _CLOSE = "([{", ")]}"


def lay_out(code: str) -> str:
    """Sorts the imports of each paragraph, and wraps lines that are too long."""
    paragraphs = [_sorted_imports(paragraph) for paragraph in code.split("\n\n")]
    lines = (wrapped for line in "\n\n".join(paragraphs).splitlines() for wrapped in wrap(line))
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)) + "\n"


def _sorted_imports(paragraph: str) -> str:
    lines = paragraph.splitlines()
    if not lines or not all(line.startswith(("from ", "import ")) for line in lines):
        return paragraph
    names: dict[str, set[str]] = {}
    for line in lines:
        if found := _IMPORT.fullmatch(line):
            names.setdefault(found["module"], set()).update(found["names"].split(", "))
    plain = sorted({line for line in lines if line.startswith("import ")})
    return "\n".join([*plain, *(f"from {module} import {_joined(names[module])}" for module in sorted(names))])


def _joined(names: set[str]) -> str:
    """Constants first, then classes, then functions."""
    return ", ".join(sorted(names, key=lambda name: (name[0].islower(), not (name.isupper() and len(name) > 1), name)))


def wrap(line: str) -> list[str]:
    """The line, or several in its place: split at an operator or at the last bracket, and there at each comma."""
    if len(line) <= WIDTH:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    first, *others = _parts(line.strip(), " | ")
    if others and line.endswith(","):
        return _wrapped(indent, [first, *(f"| {other}" for other in others)])
    if line.startswith("from "):
        module, _, names = line.partition(" import ")
        return [f"{module} import (", *_wrapped("    ", [f"{name}," for name in names.split(", ")]), ")"]
    split = _last_bracket(line)
    if split is None:
        return [line]
    start, end = split
    return [line[: start + 1], *_inside(f"{indent}    ", line[start + 1 : end]), f"{indent}{line[end:]}"]


def _inside(indent: str, body: str) -> list[str]:
    """What is in a bracket: one line if that is enough, otherwise one for each part."""
    if len(indent) + len(body) <= WIDTH:
        return [f"{indent}{body}"]
    element, *loops = _parts(body, " for ")
    if loops:
        return _wrapped(indent, [element, *(f"for {loop}" for loop in loops)])
    return _wrapped(indent, [f"{part}," for part in _parts(body)])


def _wrapped(indent: str, lines: list[str]) -> list[str]:
    return [wrapped for line in lines for wrapped in wrap(f"{indent}{line}")]


def _last_bracket(line: str) -> tuple[int, int] | None:
    """Where the last bracket of the line opens and closes, if only punctuation follows it."""
    end = line.find(") -> ") if "def " in line else max(map(line.rfind, _CLOSE))
    if end < 0 or _ENDING.fullmatch(line[end + 1 :]) is None:
        return None
    depth = 0
    for position in range(end, -1, -1):
        depth += (line[position] in _CLOSE) - (line[position] in _OPEN)
        if depth == 0:
            return (position, end) if end - position > 1 else None
    return None


def _parts(body: str, separator: str = ",") -> list[str]:
    """The code between the separators that are in no bracket and no text."""
    parts, start, depth, quote = [], 0, 0, ""
    for position, character in enumerate(body):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        depth += 0 if quote else (character in _OPEN) - (character in _CLOSE)
        if not depth and not quote and position >= start and body.startswith(separator, position):
            parts.append(body[start:position].strip())
            start = position + len(separator)
    return [*parts, body[start:].strip()]
