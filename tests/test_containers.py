"""What the files for containers guarantee, checked without Docker; `tests/compose` has what needs it."""

import re

import pytest

from tests.support.readme import ROOT

SHIPPED = {"gunicorn.conf.py", "deploy", "src"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_image_contains_only_what_runs_in_it() -> None:
    """No tools for developers, no tests: the stage of the image copies three things from the project."""
    stage = re.split(r"^FROM .*$", read("Dockerfile"), flags=re.MULTILINE)[-1]
    copied = [line.split()[1:-1] for line in stage.splitlines() if line.startswith("COPY") and "--from=" not in line]
    assert {name.removeprefix("./") for names in copied for name in names} == SHIPPED


def test_docker_gets_only_what_is_listed() -> None:
    """The first pattern ignores everything, so that a new folder is not included by accident."""
    patterns = [line for line in read(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert patterns[0] == "*"
    assert {line[1:] for line in patterns if line.startswith("!")} == SHIPPED | {"pyproject.toml", "poetry.lock"}
    assert "src/.env" in patterns


@pytest.mark.parametrize("folder", sorted(SHIPPED - {"gunicorn.conf.py"}))
def test_nothing_that_is_shipped_imports_developer_tools(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert not re.search(r"^\s*(?:from|import) (?:dev|tests)\b", path.read_text(encoding="utf-8"), re.MULTILINE), (
            path
        )


def test_secrets_are_never_committed_or_copied() -> None:
    assert {"secrets/", "src/.env", ".local/"} <= set(read(".gitignore").split())


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.servers.yml"])
def test_development_publishes_ports_on_this_machine_only(name: str) -> None:
    ports = re.findall(r"ports:\n((?:\s+- .*\n)+)", read(name))
    published = [line.strip(' -"') for block in ports for line in block.splitlines()]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_the_servers_get_only_their_own_variables() -> None:
    """No container receives the whole src/.env, which has the application's secret key."""
    for name in ("docker-compose.yml", "docker-compose.servers.yml", "docker-compose.production.yml"):
        assert "env_file" not in read(name), name
