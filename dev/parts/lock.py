"""Takes packages that nothing needs any more out of poetry.lock, without asking a package index.

Poetry solves the dependencies of the changed pyproject.toml from the lock itself, so that every package that is left
keeps its version and its hashes.

python -m dev.parts.lock FOLDER    by the Python of .tools/poetry, which alone has Poetry
"""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from dev.parts.staging import Staging

POETRY_PYTHON = Path(".tools") / "poetry" / "bin" / "python"
LOCK = "poetry.lock"


class LockError(Exception):
    """The lock could not be updated; the text has Poetry's message."""


def _declared(folder: Path) -> tuple[Any, Any]:
    content = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    return content["project"]["dependencies"], content["dependency-groups"]


def update(staging: Staging) -> None:
    """Writes the lock that belongs to the staged pyproject.toml, if its dependencies differ from the project's."""
    if _declared(staging.project) == _declared(staging.root):
        return
    shutil.copy(staging.project / LOCK, staging.root)
    command = [str(staging.project / POETRY_PYTHON), "-m", "dev.parts.lock", str(staging.root)]
    try:
        subprocess.run(command, cwd=staging.project, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise LockError(f"{POETRY_PYTHON} is missing: run `make install`") from error
    except subprocess.CalledProcessError as error:
        raise LockError(f"{LOCK} cannot be updated:\n{error.stderr}") from error


def solve(folder: Path) -> None:
    """Writes the folder's lock anew, from the packages that are in it."""
    from cleo.io.null_io import NullIO  # noqa: PLC0415 - the project's own Python does not have Poetry
    from poetry.factory import Factory  # noqa: PLC0415
    from poetry.puzzle.solver import Solver  # noqa: PLC0415
    from poetry.repositories import RepositoryPool  # noqa: PLC0415

    poetry = Factory().create_poetry(folder)
    locked = poetry.locker.locked_repository().packages
    solver = Solver(poetry.package, RepositoryPool.from_packages(locked, poetry.config), [], locked, NullIO())
    poetry.locker.set_lock_data(poetry.package, solver.solve().get_solved_packages())


if __name__ == "__main__":
    solve(Path(sys.argv[1]))
