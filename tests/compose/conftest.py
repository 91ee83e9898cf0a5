"""Runs the real compose files, in a copy of the project with its own names and ports."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from dev.local.ports import free_port
from tests.support.readme import ROOT

FILES = [*(path.name for path in ROOT.glob("docker-compose*.yml")), "Dockerfile", ".dockerignore", "default.conf"]
FILES += ["gunicorn.conf.py", "pyproject.toml", "poetry.lock"]
FIRST_NGINX_THAT_RESOLVES = (1, 27, 3)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "compose" in config.option.markexpr:
        return
    for item in items:
        if item.get_closest_marker("compose"):
            item.add_marker(pytest.mark.skip(reason="needs Docker: make test-compose"))


@dataclass
class Project:
    """A compose project in its own folder."""

    folder: Path
    environment: Mapping[str, str]
    web_port: int = field(default_factory=free_port)
    nginx_port: int = field(default_factory=free_port)

    def run(self, *command: str, check: bool = True, seconds: float = 900) -> str:
        """Both outputs of the command."""
        ports = {"WEB_PORT": str(self.web_port), "NGINX_PORT": str(self.nginx_port), "DB_PORT": str(free_port())}
        result = subprocess.run(
            command,
            cwd=self.folder,
            env={**ports, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=seconds,
        )
        assert not check or result.returncode == 0, result.stdout
        return result.stdout

    def compose(self, *arguments: str, check: bool = True) -> str:
        return self.run("docker", "compose", *arguments, check=check)

    def wait_for(self, url: str, seconds: float = 120) -> None:
        """Returns when the address responds with a success."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if httpx.get(url, timeout=2).is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"{url} does not respond\n{self.compose('logs', '--tail=40')}")

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--quiet", service).split()


def copy_project(folder: Path) -> None:
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    ignored = shutil.ignore_patterns("__pycache__", ".env", "*.log*")
    for name in ("src", "dev", "deploy", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))


def fit_to_nginx(configuration: Path, image: str) -> None:
    """NGINX before 1.27.3 resolves the servers only when it (re)starts, and rejects the word `resolve`."""
    words = subprocess.run(["docker", "run", "--rm", image, "nginx", "-v"], stderr=subprocess.PIPE, check=True).stderr
    version = tuple(int(part) for part in words.decode().partition("nginx/")[2].split()[0].split("."))
    if version < FIRST_NGINX_THAT_RESOLVES:
        print(f"\n{image} is {version}: without its lookups while running")
        configuration.write_text(configuration.read_text().replace("server web:8000 resolve", "server web:8000"))


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Project]]:
    """A copy of the project; everything it starts is removed at the end."""
    made = []

    def make(name: str, **environment: str) -> Project:
        folder = tmp_path_factory.mktemp(name)
        copy_project(folder)
        fit_to_nginx(folder / "default.conf", "nginx:1.30")

        names = {"COMPOSE_PROJECT_NAME": f"fastapi-boilerplate-{name}", "IMAGE": f"fastapi-boilerplate-{name}"}
        project = Project(folder, {**os.environ, **names, **environment})
        made.append(project)
        return project

    yield make
    for project in made:
        project.compose("--profile", "*", "down", "--volumes", "--timeout", "5", check=False)
