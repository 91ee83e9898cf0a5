"""`make rename` finds every place of the project's name, and can run any number of times."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dev import rename
from tests.support.readme import ROOT

FILES = (*rename.PLACES, "LICENSE.md")
NOT_RENAMED = {"CHANGELOG.md", "dev/rename.py", "dev/local/servers.py", "poetry.lock", "tests/test_rename.py"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for file in (*FILES, "dev/rename.py", "dev/__init__.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dev.rename", *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


def texts(project: Path) -> dict[str, str]:
    return {file: (project / file).read_text(encoding="utf-8") for file in FILES}


def test_a_project_is_renamed_again_and_again(project: Path) -> None:
    """Renamed, renamed to the same, and to another name: only the last one is there."""
    first = run(project, "My Product", "--holder", "My Company, Inc.", "--force")
    assert first.returncode == 0, first.stderr
    once = texts(project)
    assert tomllib.loads(once["pyproject.toml"])["project"]["name"] == "my-product"
    assert json.loads(once[".devcontainer/devcontainer.json"])["name"] == "My Product"
    assert '<h1 align="center">My Product</h1>' in once["README.md"]
    assert "name: my-product\n" in once["docker-compose.yml"]
    assert "${IMAGE:-my-product}" in once["docker-compose.yml"]
    assert 'APP_NAME: str = "My Product"' in once["src/app/core/config.py"]
    assert re.search(r"^Copyright \(c\) \d{4} My Company, Inc\.$", once["LICENSE.md"], re.MULTILINE)

    same = run(project, "My Product", "--force")
    assert same.stdout == "the project is called My Product already; nothing is changed\n"
    assert texts(project) == once

    assert run(project, "Api", "--force").returncode == 0
    last = texts(project)
    assert "My Company" in last["LICENSE.md"]
    assert '<h1 align="center">Api</h1>' in last.pop("README.md")  # which has my-product as an example
    assert not [text for text in last.values() if "my-product" in text or "My Product" in text]


def test_a_rename_back_gives_the_same_files(project: Path) -> None:
    before = texts(project)
    holder = rename.present_holder(project)
    old = re.search(r'<h1 align="center">(.+)</h1>', before["README.md"])
    assert old is not None
    for name in ("My Product", old[1]):
        assert run(project, name, "--holder", holder, "--force").returncode == 0
    after = texts(project)

    # The title of the documentation has another default than the name.
    apart = {"src/app/core/config.py", "src/.env.example", "README.md"}
    assert {file: text for file, text in after.items() if file not in apart} == {
        file: text for file, text in before.items() if file not in apart
    }


@pytest.mark.parametrize("name", ["", " ", "123", "日本", 'A "quote"', "a\nb", "x" * 61, "<b>", " Padded"])
def test_a_name_that_cannot_be_used_changes_nothing(project: Path, name: str) -> None:
    before = texts(project)
    result = run(project, name, "--force")

    assert result.returncode == 1
    assert "cannot be used" in result.stderr
    assert texts(project) == before


def test_uncommitted_changes_are_refused(project: Path) -> None:
    result = run(project, "My Product")

    assert result.returncode == 1
    assert "not committed" in result.stderr


def test_no_other_file_has_the_name() -> None:
    slug = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
    listed = subprocess.run(["git", "grep", "-lF", slug], cwd=ROOT, capture_output=True, text=True, check=False)
    found = set(listed.stdout.split()) if listed.returncode == 0 else set()

    assert found <= {*FILES, *NOT_RENAMED}
