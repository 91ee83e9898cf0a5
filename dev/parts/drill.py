"""Removes parts in copies of the project, and checks what is left.

    make drill                   every part, and some sets of parts
    make drill PARTS=posts       one set; PARTS="chaos,benchmarks posts" are two
    make drill LONG=1            with every test that is left

For each set: the removal, the linter, the type checker, the directions of imports, the lock, the migrations, the
collection of all tests, and the tests that are listed in `TESTS`. The copies are in a temporary folder.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from dev.parts.lock import LOCK, POETRY_PYTHON
from dev.parts.manifest import read_parts
from dev.parts.staging import ignored

ROOT = Path(__file__).resolve().parents[2]
SETS = ("chaos,benchmarks", "posts,cache", "posts,tiers,cache,tasks,telemetry")
"""Those that people remove together."""
TESTS = (
    "tests/test_one_identity.py",
    "tests/test_parts.py",
    "tests/test_authorization.py",
    "tests/test_migrations.py",
    "tests/test_openapi.py",
)
LINT_IMPORTS = "from importlinter.cli import lint_imports_command as main; main()"
LINT = ("ruff", "check", "--quiet", "--no-cache", "src", "dev", "deploy", "tests")
STEPS: dict[str, tuple[str, ...]] = {
    "lint": ("-m", *LINT),
    "types": ("-m", "mypy"),
    "imports": ("-c", LINT_IMPORTS, "--no-logo", "--no-cache"),
    "lock": ("-m", "poetry", "check", "--lock"),
    "migrations": ("-m", "dev.check_migrations"),
    "risks": ("-m", "dev.lint_migrations"),
    "collection": ("-m", "pytest", "-q", "--collect-only"),
}


def _run(copy: Path, arguments: Sequence[str]) -> str:
    """The output of a command that failed, or nothing. Poetry has its own Python."""
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    python = str(copy / POETRY_PYTHON) if "poetry" in arguments else sys.executable
    command = [python, *arguments]
    result = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    return f"{result.stdout}{result.stderr}" if result.returncode else ""


def _steps(copy: Path, names: Sequence[str], long: bool) -> dict[str, tuple[str, ...]]:
    tests = () if long else tuple(name for name in TESTS if (copy / name).exists())
    return {
        "removal": ("-m", "dev.parts", *names, "--force"),
        **STEPS,
        "tests": ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not compose and not long", *tests),
    }


def drill(names: Sequence[str], folder: Path, long: bool) -> str:
    """One line of the table; the output of the first step that fails is printed above it."""
    copy, begin = folder / "-".join(names), time.monotonic()
    shutil.copytree(ROOT, copy, ignore=ignored)
    shutil.copy(ROOT / LOCK, copy)
    (copy / ".tools").symlink_to(ROOT / ".tools")
    if (cache := ROOT / ".mypy_cache").exists():  # without it the type checker takes ten times as long
        shutil.copytree(cache, copy / cache.name)
    verdict = "passed"
    for step in _steps(copy, names, long):
        if output := _run(copy, _steps(copy, names, long)[step]):
            print(f"{', '.join(names)}: {step}\n{output}", flush=True)
            verdict = f"{step} FAILED"
            break
    shutil.rmtree(copy)
    return f"{', '.join(names):<45} {time.monotonic() - begin:>5.0f} s  {verdict}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make drill", description="Removes parts in copies and checks what is left.")
    parser.add_argument("sets", nargs="*", help="parts that are removed together, with commas between them")
    parser.add_argument("--long", action="store_true", help="run every test that is left")
    options = parser.parse_args(arguments)
    sets = options.sets or [*read_parts(), *SETS]
    with tempfile.TemporaryDirectory() as folder:
        lines = [drill(each.split(","), Path(folder), options.long) for each in sets]
    print(*lines, sep="\n")
    return int(any(line.endswith("FAILED") for line in lines))


if __name__ == "__main__":
    sys.exit(main())
