"""Removes parts in a staged copy of the project; nothing is changed in the project itself."""

import subprocess
import sys
from dataclasses import dataclass, field

from dev.parts import migration, sweep
from dev.parts.definitions import without_decorator
from dev.parts.manifest import Part
from dev.parts.staging import Staging

ENDPOINTS = "src/app/api/v1/*.py"
SOURCES = ("src", "dev", "deploy", "tests", "gunicorn.conf.py", "benchmarks")


class RemovalError(Exception):
    """What is left would not work; the text has one line per problem."""


@dataclass(slots=True)
class Report:
    """What was removed besides the files, for the reader of the command's output."""

    not_found: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    migrations: list[str] = field(default_factory=list)


def remove(staging: Staging, parts: list[Part]) -> Report:
    """Raises `RemovalError` if the linter finds undefined names in what is left."""
    report, before = Report(), sweep.words(staging)
    for part in parts:
        _delete_files(staging, part)
    for part in parts:
        report.not_found += make_edits(staging, part)
        _undecorate_endpoints(staging, part)
    for part in parts:
        if part.uses:
            report.tests += sweep.remove_tests(staging, part.uses)
        if (written := migration.write(staging, part)) is not None:
            report.migrations.append(written)
    report.tests += sweep.remove_broken_tests(staging, _ruff(staging, "check", "--select", "F821,F841"))
    _ruff(staging, "check", "--fix", "--select", "F401")
    while unused := sweep.remove_unused(staging, before):
        report.unused += unused
        _ruff(staging, "check", "--fix", "--select", "F401")
    # What only a removed line used: `row = ...; return row`.
    _ruff(staging, "check", "--fix", "--unsafe-fixes", "--select", "RET504")
    _ruff(staging, "format")
    _ruff(staging, "check", "--fix", "--fixable", "I,F401,RUF022,RUF100")
    if problems := _ruff(staging, "check", "--select", "E9,F"):
        raise RemovalError(problems)
    return report


def _delete_files(staging: Staging, part: Part) -> None:
    for name in list(staging.files(*part.files)):
        staging.delete(name)


def make_edits(staging: Staging, part: Part) -> list[str]:
    """Edits the shared files that exist; returns what was not found in them, exactly once."""
    problems: list[str] = []
    for name, edits in part.edits.items():
        if (staging.root / name).is_file():
            text, missing = edits.apply(staging.read(name))
            staging.write(name, text)
            problems += [f"{name}: {each}" for each in missing]
    return problems


def _undecorate_endpoints(staging: Staging, part: Part) -> None:
    for name in staging.files(ENDPOINTS):
        for decorator in part.decorators:
            if (text := without_decorator(staging.read(name), decorator)) is not None:
                staging.write(name, text)


def _ruff(staging: Staging, *arguments: str) -> str:
    sources = [name for name in SOURCES if (staging.root / name).exists()]
    command = [sys.executable, "-m", "ruff", *arguments, "--quiet", "--no-cache", *sources]
    if arguments[0] == "check":
        command[4:4] = ["--output-format", "concise"]
    result = subprocess.run(command, cwd=staging.root, capture_output=True, text=True, check=False)
    if result.returncode not in (0, 1):
        raise RemovalError(result.stderr)
    return result.stdout
