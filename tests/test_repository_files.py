"""The files that tools and people expect around a repository fit their schemas and name what exists."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.readme import ROOT

SCHEMAS = {
    "vendor.github-workflows": ".github/workflows/*.yml",
    "vendor.dependabot": ".github/dependabot.yml",
    "vendor.github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "vendor.github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
}
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_for_github_fit_their_schemas(schema: str) -> None:
    files = [str(file) for file in ROOT.glob(SCHEMAS[schema])]
    assert files
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("folder", [".github/workflows", ".ci", ".devcontainer", "AGENTS.md", "CONTRIBUTING.md"])
def test_the_named_make_targets_exist(folder: str) -> None:
    path = ROOT / folder
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    named = {target for file in files for target in re.findall(r"\bmake ([a-z-]+)", file.read_text(encoding="utf-8"))}
    assert named - {"sure"} <= TARGETS


def test_every_supported_python_is_tested() -> None:
    matrix = re.search(r"python: (\[.*\])", text(".github/workflows/ci.yml"))
    assert matrix
    versions = json.loads(matrix[1])
    lowest = tomllib.loads(text("pyproject.toml"))["project"]["requires-python"].partition(",")[0]
    assert lowest == f">={versions[0]}"
    first, last = re.findall(r"Python-3\.(\d+)_to_3\.(\d+)", text("README.md"))[0]
    assert versions == [f"3.{minor}" for minor in range(int(first), int(last) + 1)]


@pytest.mark.parametrize("script", [".ci/run", ".ci/long"])
def test_the_scripts_of_the_workflows_are_executable(script: str) -> None:
    assert (ROOT / script).stat().st_mode & 0o111
    workflows = "".join(file.read_text(encoding="utf-8") for file in (ROOT / ".github" / "workflows").iterdir())
    assert f"- run: {script}\n" in workflows


def test_the_development_container_runs_the_template() -> None:
    container = json.loads(text(".devcontainer/devcontainer.json"))
    assert container["postAttachCommand"] == "make run"
    assert container["forwardPorts"] == [8000]


def test_pre_commit_uses_the_tools_of_the_lock() -> None:
    entries = re.findall(r"entry: (\S+) -m (\w+)", text(".pre-commit-config.yaml"))
    developed_with = str(tomllib.loads(text("pyproject.toml"))["dependency-groups"]["dev"])
    assert [python for python, _ in entries] == [".venv/bin/python"] * 3
    assert all(f"'{tool}>=" in developed_with for _, tool in entries)


def test_the_guide_for_agents_is_short_and_its_links_lead_to_files() -> None:
    guide = text("AGENTS.md")
    assert len(guide.splitlines()) <= 40
    links = re.findall(r"\]\(([^)#:]+)\)", guide)
    assert links
    assert all(Path(ROOT, link).exists() for link in links)
