"""What goes together with a part without being named: its tests, and definitions that nothing uses any more."""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from dev.parts.definitions import Definition, Function, definitions, used_names, without_lines
from dev.parts.entries import without_entries
from dev.parts.staging import Staging

_OWN_TESTS = "tests/test_parts.py"
"""They name parts, and skip what is about a removed one."""
_NOT_INDENTED = re.compile(r"^\w.*", re.MULTILINE)
_WORD = re.compile(r"\w+")
_IS_NEEDED = re.compile(r"__\w+__|test_\w+|pytest_\w+|Test\w+|AUTHORIZATION|arrange")


def remove_tests(staging: Staging, uses: re.Pattern[str]) -> list[str]:
    """Removes every test that uses the part, with what only such tests use; returns their names."""
    removed: list[str] = []
    for name in staging.files("tests/test_*.py", "tests/compose/test_*.py"):
        if name == _OWN_TESTS:
            continue
        source = _without_entries(staging.read(name), uses)
        staging.write(name, source)
        doomed = _doomed(source, uses)
        if not doomed:
            continue
        removed += [f"{name}::{each.path}" for each in doomed if each.name.startswith("test_")]
        left = without_lines(source, doomed)
        if any(each.name.startswith("test_") for each in definitions(left)):
            staging.write(name, left)
        else:
            staging.delete(name)
    return removed


def remove_broken_tests(staging: Staging, findings: str) -> list[str]:
    """Removes the tests in which ruff has found a name without definition or without use; returns their names."""
    removed = []
    for name, numbers in _lines_by_file(findings).items():
        source = staging.read(name)
        broken = [
            each
            for each in definitions(source)
            if each.name.startswith("test_") and numbers & set(range(each.first, each.last + 1))
        ]
        staging.write(name, without_lines(source, broken))
        removed += [f"{name}::{each.path}" for each in broken]
    return removed


def _lines_by_file(findings: str) -> dict[str, set[int]]:
    """The numbers of the lines in test files that `path:line:column: message` names."""
    found: dict[str, set[int]] = {}
    for name, number in re.findall(r"^(tests/test_\w+\.py):(\d+):", findings, re.MULTILINE):
        found.setdefault(name, set()).add(int(number))
    return found


def _without_entries(source: str, uses: re.Pattern[str]) -> str:
    """The source with those definitions changed that do not use the part once its entries are out of them."""
    for each in reversed(_matching(source, uses)):
        changed = without_entries(source, each, uses)
        if changed is not None and len(_matching(changed, uses)) < len(_matching(source, uses)):
            source = changed
    return source


def _matching(source: str, uses: re.Pattern[str]) -> list[Definition]:
    """The innermost definitions that match, in their order."""
    if not uses.search(source):
        return []
    lines, every = source.splitlines(), definitions(source)
    inner = [each for each in every if not (isinstance(each.node, ast.ClassDef) and _has_members(each, every))]
    return [each for each in inner if uses.search(each.source(lines))]


def _doomed(source: str, uses: re.Pattern[str]) -> list[Definition]:
    """The innermost definitions that match, and those that use one of them."""
    lines, every = source.splitlines(), definitions(source)
    inner = [each for each in every if not (isinstance(each.node, ast.ClassDef) and _has_members(each, every))]
    doomed = [each for each in inner if uses.search(each.source(lines))]
    while doomed and (more := [each for each in every if each not in doomed and _is_broken_without(each, doomed)]):
        doomed += more
    return doomed


def _is_broken_without(each: Definition, doomed: list[Definition]) -> bool:
    """A definition that uses one of the others, or a class that is no group of tests and would lose a method."""
    if isinstance(each.node, ast.ClassDef):
        return not each.name.startswith("Test") and any(other.parent is each.node for other in doomed)
    return bool(used_names(each.node) & {other.name for other in doomed if not other.parent})


def _has_members(each: Definition, every: Sequence[Definition]) -> bool:
    return any(other.parent is each.node for other in every)


def words(staging: Staging) -> Counter[str]:
    """How often each word is in the project, outside of this folder, whose manifest names what goes."""
    counts: Counter[str] = Counter()
    for name in staging.texts():
        if name.startswith("dev/parts/"):
            continue
        counts.update(_WORD.findall(staging.read(name)))
    return counts


def remove_unused(staging: Staging, before: Counter[str]) -> list[str]:
    """Removes definitions of modules that something used before and nothing uses now; returns their names."""
    now, removed = words(staging), []
    fewer = {word for word, count in before.items() if now[word] < count}
    for name in staging.files("src/**/*.py", "tests/**/*.py", "dev/**/*.py"):
        source = staging.read(name)
        if fewer.isdisjoint(_WORD.findall("\n".join(_NOT_INDENTED.findall(source)))):
            continue  # without parsing it
        unused = list(_unused(source, before, now))
        if unused:
            staging.write(name, without_lines(source, unused))
            removed += [f"{name}: {each.path}" for each in unused]
    return removed


def _unused(source: str, before: Counter[str], now: Counter[str]) -> Iterator[Definition]:
    lines = source.splitlines()
    for each in definitions(source):
        if each.parent or now[each.name] == before[each.name]:
            continue
        if not _IS_NEEDED.fullmatch(each.name) and not _is_registered(each.node):
            own = _WORD.findall(each.source(lines)).count(each.name)
            if now[each.name] == own < before[each.name]:
                yield each


def _is_registered(node: ast.stmt) -> bool:
    """Whether a decorator hands the function to an object that calls it, as `@router.get` does."""
    decorators = node.decorator_list if isinstance(node, Function | ast.ClassDef) else []
    called = (each.func if isinstance(each, ast.Call) else each for each in decorators)
    owners = (each.value for each in called if isinstance(each, ast.Attribute))
    return any(not (isinstance(owner, ast.Name) and owner.id == "pytest") for owner in owners)
