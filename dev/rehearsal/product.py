"""Makes a product of the previous version."""

import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from dev.rehearsal.edits import EDITS, LOCK, changed_lock
from dev.rehearsal.versions import TOOL_EDITS, TOOLS

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = RENAME, PARTS, ENTITY = "dev/rename.py", "dev/parts", "dev/entity"
FIELDS = "title:str(2..80) price:decimal released:date owner:user"
"""Of types for which the first version has all that the generated code imports."""


class RehearsalError(Exception):
    """What failed, with the end of the output."""


def run(folder: Path, *command: str, environment: Mapping[str, str] | None = None) -> str:
    """The output of a command; raises `RehearsalError` if it fails."""
    result = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if result.returncode:
        end = f"{result.stdout}{result.stderr}"[-6000:]
        raise RehearsalError(f"`{' '.join(command)}` in {folder.name} failed:\n{end}")
    return result.stdout


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Rehearsal", "-c", "user.email=rehearsal@example.com")
    return run(folder, "git", *identity, *arguments).strip()


def clone(folder: Path, commit: str) -> Path:
    """A clone with the commit on the branch `product`; shares the objects of this repository."""
    try:
        git(ROOT, "rev-parse", "--verify", f"{commit}^{{commit}}")
    except RehearsalError:
        raise RehearsalError(
            f"the commit {commit} is not here: `git fetch --unshallow` gets the whole history"
        ) from None
    git(ROOT, "clone", "--quiet", "--shared", "--no-checkout", str(ROOT), str(folder))
    git(folder, "checkout", "--quiet", "-B", "product", commit)
    return folder


def unpack_tools(folder: Path) -> Path | None:
    """The commands that the version lacks; None if it has them."""
    if not TOOLS:
        return None
    archive = subprocess.run(["git", "archive", TOOLS, *COMMANDS], cwd=ROOT, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    for name, text in TOOL_EDITS.items():
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write(text)
    return folder


def _lay_over(project: Path, tools: Path) -> None:
    """Copies the commands into the project, where git ignores them."""
    for name in COMMANDS:
        copy = shutil.copytree if (tools / name).is_dir() else shutil.copy
        copy(tools / name, project / name)
    with (project / ".git/info/exclude").open("a", encoding="utf-8") as file:
        file.writelines(f"/{name}\n" for name in COMMANDS)


def _take_away(project: Path) -> None:
    for name in COMMANDS:
        shutil.rmtree(project / name) if (project / name).is_dir() else (project / name).unlink()


def commit_all(project: Path, message: str) -> None:
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", message)


def develop(project: Path, tools: Path | None) -> None:
    """Makes the version in this clone the product, in four commits."""
    if tools:
        _lay_over(project, tools)
    steps = {
        "Name the product": (RENAME, "My Shop", "--holder", "The Shop Company", "--force"),
        "Remove the posts": (PARTS, "posts", "--force"),
        "Add products": (ENTITY, "add", "product", FIELDS),
    }
    for message, (command, *arguments) in steps.items():
        run(project, sys.executable, "-m", command.removesuffix(".py").replace("/", "."), *arguments)
        commit_all(project, message)
    if tools:
        _take_away(project)
    for name, edit in (*EDITS.items(), (LOCK, changed_lock)):
        text = (project / name).read_text(encoding="utf-8")
        edited = edit(text)
        if edited == text:
            raise RehearsalError(f"the edit of {name} changes nothing: dev/rehearsal/edits.py")
        (project / name).write_text(edited, encoding="utf-8")
    commit_all(project, "Sell")
