"""What git says about the project; nothing without git."""

import subprocess
from pathlib import Path


def _lines(root: Path, *arguments: str) -> list[str]:
    try:
        result = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return result.stdout.splitlines() if result.returncode == 0 else []


def changes(root: Path) -> list[str]:
    """The paths of changes that are not committed."""
    return [line[3:] for line in _lines(root, "status", "--porcelain", ".")]


def is_pushed(root: Path, path: Path) -> bool:
    """Whether a branch of a remote repository has the file."""
    branches = _lines(root, "for-each-ref", "--format=%(refname)", "refs/remotes")
    return any(_lines(root, "ls-tree", "--name-only", branch, str(path)) for branch in branches)
