"""Runs checks and tests of a version, the tests on a given database."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from dev.rehearsal.product import ROOT, run

PLUGIN = Path(__file__).with_name("given_database.py")
TESTS = ("tests/test_product.py", "tests/test_user.py", "tests/test_login.py", "tests/test_authorization.py")
"""Of the merged product: of the added entity, and of the template."""
OLD_TESTS = ("test_user", "test_post", "test_tier", "test_login", "test_tasks")
"""Of the previous version, whose code must work on the present schema."""
NOT_IN_MAKE_TEST = ("compose", "long")
CHECKS = {
    "lint": ("-m", "ruff", "check", "--quiet", "--no-cache", "src", "dev", "deploy", "tests"),
    "format": ("-m", "ruff", "format", "--check", "--quiet", "--no-cache", "src", "dev", "deploy", "tests"),
    "imports": ("-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-logo", "--no-cache"),
    "migrations": ("-m", "dev.check_migrations"),
    "risks": ("-m", "dev.lint_migrations"),
    "collection": ("-m", "pytest", "-q", "--collect-only"),
    "types": ("-m", "mypy"),
}


def check(project: Path) -> str:
    """Runs what `make check` runs; returns the names."""
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    for arguments in CHECKS.values():
        run(project, sys.executable, *arguments, environment=environment)
    poetry = ROOT / ".tools/poetry/bin/python"
    if poetry.exists():
        run(project, str(poetry), "-m", "poetry", "--no-interaction", "check", "--lock")
    return ", ".join([*CHECKS, *(["lock"] if poetry.exists() else [])])


def run_tests(project: Path, database: Path, tests: Sequence[str], python: str = sys.executable) -> str:
    """Runs the tests on the database in the SQL file, all of them if none is named; returns pytest's last line."""
    plugins = database.parent / "plugins"
    plugins.mkdir(exist_ok=True)
    shutil.copy(PLUGIN, plugins)
    environment = {**os.environ, "PYTHONPATH": str(plugins), "GIVEN_DATABASE": str(database)}
    options = ["-q", "-p", "no:cacheprovider", "-p", "given_database", "-m", _marks(project)]
    output = run(project, python, "-m", "pytest", *options, *tests, environment=environment)
    return output.strip().splitlines()[-1]


def _marks(project: Path) -> str:
    """Leaves out what `make test` does; an older version knows fewer marks."""
    known = (project / "pyproject.toml").read_text(encoding="utf-8")
    return " and ".join(f"not {mark}" for mark in NOT_IN_MAKE_TEST if f'"{mark}:' in known)


def old_python(project: Path) -> str:
    """Installs the previous version's own packages in its clone."""
    run(project, sys.executable, "dev/install.py", ".venv")
    return str(project / ".venv/bin/python")
