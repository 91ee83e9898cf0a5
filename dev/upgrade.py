"""Merges another version of the template into the project: `make upgrade VERSION=v0.2.0`.

python -m dev.upgrade v0.2.0        (or the file alone, with the Python of .venv: docs/upgrading.md)

`git merge` compares the project and the new version with the version that both have in common. What `make rename` and
`make remove` have changed would then conflict with changes of the template on the same lines. So this command gives the
common version and the new one the project's name and license holder, and removes from both the parts that the project
has no more. Then it merges as `git merge --no-commit` does: only changes that were made by hand can conflict.

Both versions are prepared in temporary work trees, each with its own commands.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COMMANDS = ("dev/rename.py", "dev/parts")
VERSIONS = "src/migrations/versions"
_NAME = re.compile(r'(?m)^    APP_NAME: str = "(.+)"$')
_HOLDER = re.compile(r"(?m)^Copyright \(c\) \d{4} (.+)$")


class UpgradeError(Exception):
    """Why nothing is merged."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What the commands have changed in the project."""

    name: str
    holder: str
    removed: Sequence[str]


def run(folder: Path, *command: str) -> str:
    """The output of a command; raises `UpgradeError` with its last lines if it fails."""
    # `-m` imports `dev` from the folder that it starts in.
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    result = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if result.returncode:
        lines = f"{result.stdout}{result.stderr}".strip().splitlines()[-15:]
        raise UpgradeError("\n".join([f"`{' '.join(command[:4])}` failed:", *lines]))
    return result.stdout.strip()


def _first(expression: re.Pattern[str], file: Path) -> str:
    found = expression.search(file.read_text(encoding="utf-8")) if file.is_file() else None
    return found[1] if found else ""


def _parts(version: Path) -> dict[str, Sequence[str]]:
    """The files of each part."""
    manifest = sorted((version / "dev/parts/manifest").glob("*.toml"))
    return {each.stem: tomllib.loads(each.read_text(encoding="utf-8"))["files"] for each in manifest}


def _has(root: Path, patterns: Sequence[str]) -> bool:
    return any(path.is_file() for pattern in patterns for path in root.glob(pattern))


def find_changes(project: Path, version: Path) -> Changes:
    """What the commands have done since the version that the project is built on."""
    name, former_name = (_first(_NAME, root / "src/app/core/config.py") for root in (project, version))
    holder, former_holder = (_first(_HOLDER, root / "LICENSE.md") for root in (project, version))
    removed = [part for part, files in _parts(version).items() if _has(version, files) and not _has(project, files)]
    is_renamed = (name, holder) != (former_name, former_holder)
    return Changes(name if is_renamed else "", holder, removed)


def lay_over(version: Path, tools: Path) -> list[Path]:
    """Copies the commands that the version lacks; returns the copies."""
    missing = [name for name in COMMANDS if not (version / name).exists() and (tools / name).exists()]
    for name in missing:
        copy = shutil.copytree if (tools / name).is_dir() else shutil.copy
        copy(tools / name, version / name)
    return [version / name for name in missing]


def _repeat(version: Path, module: str, *arguments: str) -> None:
    """Runs a command, which changes everything or nothing; what was done by hand it may be unable to repeat."""
    try:
        run(version, sys.executable, "-m", module, *arguments, "--force")
    except UpgradeError as error:
        print(f"{error}\nThis is left out, so there may be more conflicts.", file=sys.stderr)


def prepare(version: Path, changes: Changes, copied: Sequence[Path] = ()) -> str:
    """Makes the changes in a work tree of the version and deletes the copied commands; returns the commit."""
    before = set((version / VERSIONS).glob("*.py"))
    if changes.name:
        holder = ("--holder", changes.holder) if changes.holder else ()
        _repeat(version, "dev.rename", changes.name, *holder)
    if removed := [part for part in changes.removed if part in _parts(version)]:
        _repeat(version, "dev.parts", *removed)
    # The project has its own migrations that drop the tables.
    for path in (*copied, *(set((version / VERSIONS).glob("*.py")) - before)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run(version, "git", "add", "--all")
    tree = run(version, "git", "write-tree")
    # This commit is never in the project's history, so it needs no name of the developer.
    identity = ("-c", "user.name=Template", "-c", "user.email=template@example.com")
    return run(version, "git", *identity, "commit-tree", tree, "-p", "HEAD", "-m", "the template as the project has it")


def merge(project: Path, base: str, version: str, other: str) -> list[str]:
    """Merges like `git merge --no-commit VERSION`; returns the files with conflicts."""
    head, commit = run(project, "git", "rev-parse", "HEAD"), run(project, "git", "rev-parse", f"{version}^{{commit}}")
    labels = {f"GITHEAD_{head}": "HEAD", f"GITHEAD_{other}": version}
    command = ["git", "merge-recursive", base, "--", head, other]
    result = subprocess.run(
        command, cwd=project, env={**os.environ, **labels}, capture_output=True, text=True, check=False
    )
    if result.returncode > 1:
        raise UpgradeError(result.stderr)
    for name, content in {"MERGE_HEAD": commit, "MERGE_MSG": f"Merge {version} of the template"}.items():
        (project / run(project, "git", "rev-parse", "--git-path", name)).write_text(f"{content}\n", encoding="utf-8")
    return run(project, "git", "diff", "--name-only", "--diff-filter=U").splitlines()


def _common_version(project: Path, version: str) -> str:
    """The commit of the template that the project and the version are built on."""
    if run(project, "git", "status", "--porcelain", "--untracked-files=no"):
        raise UpgradeError("there are changes that are not committed: commit them first")
    try:
        run(project, "git", "rev-parse", "--verify", f"{version}^{{commit}}")
    except UpgradeError:
        raise UpgradeError(f"there is no version {version!r} here: `git fetch template --tags`") from None
    try:
        base = run(project, "git", "merge-base", "HEAD", version)
    except UpgradeError:
        problem = "the project has no commit in common with the template"
        raise UpgradeError(f"{problem}: docs/upgrading.md says how to connect them") from None
    if base == run(project, "git", "rev-parse", f"{version}^{{commit}}"):
        raise UpgradeError(f"{version} is merged already")
    return base


def upgrade(project: Path, version: str, tools: Path | None = None) -> list[str]:
    """Merges the version without a commit; returns the files with conflicts.

    `tools` has the commands for a common version without them; the default is the new version.
    """
    base = _common_version(project, version)
    with tempfile.TemporaryDirectory() as folder:
        trees = {name: Path(folder, name) for name in (version.replace("/", "-"), "common")}
        new, common = trees.values()
        try:
            for tree, commit in ((new, version), (common, base)):
                run(project, "git", "worktree", "add", "--quiet", "--detach", str(tree), commit)
            copied = lay_over(common, tools or new)
            changes = find_changes(project, common)
            return merge(project, prepare(common, changes, copied), version, prepare(new, changes))
        finally:
            for tree in trees.values():
                run(project, "git", "worktree", "remove", "--force", str(tree))


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make upgrade", description="Merges another version of the template.")
    parser.add_argument("version", help="a tag, branch or commit of the template: v0.2.0")
    options = parser.parse_args(arguments)
    try:
        project = Path(run(Path.cwd(), "git", "rev-parse", "--show-toplevel"))
        conflicts = upgrade(project, options.version)
    except UpgradeError as error:
        print(f"{error}\nnothing is changed", file=sys.stderr)
        return 1
    print(
        f"{options.version} is merged, but not committed; files with conflicts: {len(conflicts)}",
        *conflicts,
        sep="\n  ",
    )
    print("docs/upgrading.md says what comes next; `git merge --abort` undoes the merge")
    return 0


if __name__ == "__main__":
    sys.exit(main())
