"""`make upgrade`: a renamed project takes over the template's next version as docs/upgrading.md says."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dev import rename
from tests.support.readme import ROOT

VERSION = "refs/template/v2"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "-qm", message)


def run(project: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """The files that have the name, in two versions that differ in its line; the tags are v1 and v2."""
    folder = tmp_path / "template"
    for name in (*rename.PLACES, "LICENSE.md", ".gitignore", "dev/rename.py", "dev/upgrade.py", "dev/__init__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "-q")
    commit(folder, "first")
    git(folder, "tag", "v1")
    change(folder / "README.md", "** is an extendable", "** is an extendable, async,")
    (folder / "new.txt").touch()
    commit(folder, "second")
    git(folder, "tag", "v2")
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """A clone of the first version with another name."""
    folder = tmp_path / "project"
    git(tmp_path, "clone", "-q", "--no-tags", str(template), str(folder))
    git(folder, "reset", "-q", "--hard", "HEAD~1")
    git(folder, "remote", "add", "--no-tags", "template", str(template))
    git(folder, "fetch", "-q", "template", "refs/tags/*:refs/template/*")
    assert run(folder, "dev.rename", "My Product", "--holder", "My Company").returncode == 0
    commit(folder, "rename")
    return folder


def test_the_name_does_not_conflict(project: Path) -> None:
    """A plain merge has a conflict there. The commit has both parents, and the next run has nothing to do."""
    with pytest.raises(subprocess.CalledProcessError):
        git(project, "merge", VERSION)
    git(project, "merge", "--abort")
    result = run(project, "dev.upgrade", VERSION)

    assert (result.returncode, "files with conflicts: 0\n" in result.stdout) == (0, True), result.stderr
    assert "**My Product** is an extendable, async," in (project / "README.md").read_text(encoding="utf-8")
    assert (project / "new.txt").exists()
    git(project, "commit", "--no-edit", "-q")
    assert len(git(project, "log", "-1", "--format=%P").split()) == 2
    assert len(git(project, "worktree", "list").splitlines()) == 1
    again = run(project, "dev.upgrade", VERSION)
    assert (again.returncode, again.stderr) == (1, f"{VERSION} is merged already\nnothing is changed\n")


def test_an_edit_by_hand_conflicts(project: Path) -> None:
    change(project / "README.md", "** is an extendable", "** is our extendable")
    commit(project, "edit")
    result = run(project, "dev.upgrade", VERSION)

    assert "files with conflicts: 1\n  README.md\n" in result.stdout, result.stderr
    git(project, "merge", "--abort")
    assert git(project, "status", "--porcelain") == ""


def test_a_title_that_was_set_by_hand_is_merged_as_it_is(project: Path) -> None:
    """`make rename` would refuse it."""
    change(project / "src/app/core/config.py", '"My Product"', '"Ours: <new>"')
    commit(project, "edit")
    result = run(project, "dev.upgrade", VERSION)

    assert (result.returncode, "This is left out" in result.stderr) == (0, True)
    assert '"Ours: <new>"' in (project / "src/app/core/config.py").read_text(encoding="utf-8")


def test_what_cannot_be_merged_is_said_and_nothing_changes(project: Path) -> None:
    unknown = run(project, "dev.upgrade", "v9")
    change(project / "README.md", "** is an extendable", "** is our extendable")
    changed = run(project, "dev.upgrade", VERSION)

    assert "there is no version 'v9' here" in unknown.stderr
    assert "not committed" in changed.stderr
    assert git(project, "log", "-1", "--format=%s") == "rename\n"


def test_a_copy_without_history_is_connected_first(project: Path) -> None:
    shutil.rmtree(project / ".git")
    git(project, "init", "-q")
    commit(project, "all")
    template = project.parent / "template"
    git(project, "remote", "add", "--no-tags", "template", str(template))
    git(project, "fetch", "-q", "template", "refs/tags/*:refs/template/*")
    refused = run(project, "dev.upgrade", VERSION)
    assert "no commit in common" in refused.stderr
    git(project, "merge", "-q", "-s", "ours", "--allow-unrelated-histories", "-m", "Connect", "refs/template/v1")
    result = run(project, "dev.upgrade", VERSION)

    assert "files with conflicts: 0\n" in result.stdout, result.stderr
    assert "**My Product** is an extendable, async," in (project / "README.md").read_text(encoding="utf-8")
