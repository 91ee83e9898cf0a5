"""Makes random entities in a copy of the project, runs its checks and the new tests, and removes the entities again.

python -m dev.entity.trial --count 20 --seed 1
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dev.entity.commands import add, remove
from dev.entity.errors import EntityError
from dev.entity.names import pluralize
from dev.entity.random_entities import RandomEntity, random_entities

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("src", "dev", "tests")
MYPY_CACHE = ".mypy_cache"
LINT_IMPORTS = "from importlinter.cli import lint_imports_command as main; main()"


class TrialError(Exception):
    """A check or a test failed in the copy; the text is its output."""


def copy_project(folder: Path, *caches: str) -> Path:
    """A copy of the code and the tests, with bytecode and the folders named as caches, if they exist."""
    project = folder / "project"
    unwanted = shutil.ignore_patterns(".env", "*.log")
    for part in (*PARTS, *(cache for cache in caches if (ROOT / cache).exists())):
        shutil.copytree(ROOT / part, project / part, ignore=unwanted)
    for name in ("pyproject.toml", ".squawk.toml"):
        shutil.copy(ROOT / name, project)
    return project


def known_targets() -> list[str]:
    """The entities of the template that fields may refer to, as far as they have not been removed."""
    return [name for name in ("user", "tier") if (ROOT / "src/app/models" / f"{name}.py").exists()]


def commands(names: list[str]) -> list[list[str]]:
    """What `make check` runs, apart from the lock file, and the tests that concern the entities."""
    tests = [f"tests/test_{name}.py" for name in names]  # `-k` matches the names of files too
    about = " or ".join([*names, *map(pluralize, names)])
    general = ("authorization", "openapi_texts", "openapi_examples", "openapi_errors")
    tests_of_all = [f"tests/test_{name}.py" for name in general]
    return [
        ["-m", "ruff", "format", "--check", "src", "tests"],
        ["-m", "ruff", "check", "src", "tests"],
        ["-m", "mypy", "src/app/api/v1/__init__.py", *tests],
        ["-c", LINT_IMPORTS, "--no-logo"],
        ["-m", "dev.check_migrations"],
        ["-m", "dev.lint_migrations"],
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, *tests_of_all, "-k", about],
    ]


def run(project: Path, arguments: list[str]) -> float:
    """The seconds that it took; raises `TrialError` if it failed."""
    paths = os.pathsep.join((str(project / "src"), str(project)))
    environment = os.environ | {"MYPYPATH": paths, "PYTHONPATH": paths}
    began = time.monotonic()
    result = subprocess.run(
        [sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise TrialError(f"python {' '.join(arguments)}\n{result.stdout}{result.stderr}")
    return time.monotonic() - began


def files(project: Path) -> dict[str, bytes]:
    """The content of the project's own files, without what programs leave behind."""
    found = (path for part in PARTS for path in (project / part).rglob("*") if path.is_file())
    return {str(path.relative_to(project)): path.read_bytes() for path in found if path.suffix in {".py", ".txt"}}


def try_entities(project: Path, entities: list[RandomEntity]) -> None:
    """Adds them all, checks, and removes them in reverse; then every file is as before."""
    before = files(project)
    for entity in entities:
        print(f"{entity.name}: {entity.fields}", flush=True)
        add(project, entity.name, entity.fields)
    for arguments in commands([entity.name for entity in entities]):
        print(f"{run(project, arguments):6.1f} s  {' '.join(arguments)[:100]}", flush=True)
    for entity in reversed(entities):
        remove(project, entity.name)
    if files(project) != before:
        raise TrialError("the entities were removed, but not every file is as before")


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m dev.entity.trial", description=__doc__)
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="entity-trial-") as folder:
        try:
            try_entities(
                copy_project(Path(folder), MYPY_CACHE), random_entities(options.seed, options.count, known_targets())
            )
        except (EntityError, TrialError) as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
