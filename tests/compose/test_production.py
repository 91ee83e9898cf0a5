"""The production files: two servers behind NGINX, secrets from files, a deploy under load."""

import asyncio
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.compose.conftest import Project
from tests.helper import API
from tests.support.load import CUT, load
from tests.support.readme import ROOT, blocks

pytestmark = pytest.mark.compose

ENV_FILE = """
# A comment behind an empty value is a comment, as in the README.
ALGORITHM= # pick an algorithm, default HS256
POSTGRES_USER="owner"
POSTGRES_DB="shop"
POSTGRES_SERVER="localhost" # in containers this is "db"
ADMIN_NAME="The Admin"
ADMIN_EMAIL="admin@example.com"
ADMIN_USERNAME="admin"
DEFAULT_RATE_LIMIT_LIMIT=1000000
ENVIRONMENT="local"
"""


CLOSED_BY_RELOAD = {
    repr(httpx.RemoteProtocolError("Server disconnected without sending a response.")),
    repr(httpx.ReadError("")),
}
"""What becomes of a request over a connection that NGINX is just closing."""


@pytest.fixture(scope="module")
def project(make_project: Callable[..., Project]) -> Iterator[Project]:
    project = make_project("production", COMPOSE_FILE="docker-compose.yml:docker-compose.production.yml")
    (project.folder / "src/.env").write_text(ENV_FILE)
    project.run("sh", "-euc", blocks("Start", "sh", ROOT / "docs/production.md")[0])
    project.compose("build")
    project.compose("up", "--detach")
    project.wait_for(f"{url(project)}{API}/ready")
    yield project
    project.compose("down", "--volumes", "--timeout", "5")


def url(project: Project) -> str:
    return f"http://127.0.0.1:{project.nginx_port}"


def follows_dns(project: Project) -> bool:
    """Whether this NGINX needs no reload for new servers (`fit_to_nginx`)."""
    return "server web:8000 resolve" in (project.folder / "default.conf").read_text(encoding="utf-8")


def test_the_admin_logs_in_with_the_password_of_the_file(project: Project) -> None:
    password = (project.folder / "secrets/admin_password").read_text().strip()
    project.compose("run", "--rm", "create_superuser")
    response = httpx.post(f"{url(project)}{API}/login", data={"username": "admin", "password": password})
    assert response.status_code == 200


def test_without_settings_the_start_ends_with_one_clear_line(project: Project) -> None:
    env_file = project.folder / "src" / ".env"
    env_file.rename(env_file.with_suffix(".aside"))
    try:
        output = project.compose("up", "--detach", check=False)
    finally:
        env_file.with_suffix(".aside").rename(env_file)
    assert "set it in src/.env (a copy of src/.env.example), which production needs" in output
    assert output.count("\n") == 1


def test_the_code_is_that_of_the_image(project: Project) -> None:
    """`src` of this machine, which docker-compose.yml mounts for development, is not mounted."""
    assert "target: /code/src\n" not in project.compose("config")


def test_only_nginx_is_reachable_from_outside(project: Project) -> None:
    published = project.compose("ps", "--format", "{{.Service}} {{.Ports}}")
    assert [line.split()[0] for line in published.splitlines() if "->" in line] == ["nginx"]


def test_a_container_cannot_write_and_is_not_root(project: Project) -> None:
    script = "id -u; touch /code/file 2>/dev/null || echo read-only"
    assert project.compose("exec", "-T", "web", "sh", "-c", script).split() == ["10001", "read-only"]


def test_the_two_redis_differ_as_their_work_does(project: Project) -> None:
    def setting(service: str, name: str) -> str:
        command = f"REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli config get {name}"
        return project.compose("exec", "-T", service, "sh", "-c", command).split()[-1]

    assert [setting("redis", name) for name in ("maxmemory-policy", "appendonly")] == ["noeviction", "yes"]
    assert [setting("redis-cache", name) for name in ("maxmemory-policy", "appendonly")] == ["volatile-lru", "no"]


async def test_a_deploy_under_load_loses_no_request(project: Project) -> None:
    before = set(project.containers("web"))
    async with (
        load(f"{url(project)}{API}/users", callers=3) as reads,
        load(f"{url(project)}{API}/tasks/task?message=load", "POST", callers=1) as writes,
    ):
        await asyncio.to_thread(project.run, "sh", "deploy/rolling_deploy.sh")
    after = set(project.containers("web"))
    print("\ndeploy: GET", reads.line(), "| POST", writes.line(), writes.failed)
    assert (len(after), before & after) == (2, set())
    closed = set() if follows_dns(project) else CLOSED_BY_RELOAD
    assert set(reads.failed) <= closed
    assert set(writes.failed) <= {"503"} | closed


async def test_a_killed_container_loses_no_read(project: Project) -> None:
    victim = project.containers("web")[0]
    async with load(f"{url(project)}{API}/users", callers=3) as reads:
        await asyncio.to_thread(project.run, "docker", "kill", victim)
        await asyncio.sleep(4)
    print("\ndeath of a container: GET", reads.line())
    await asyncio.to_thread(project.run, "docker", "start", victim)
    assert set(reads.failed) <= {CUT}
    assert reads.responses[CUT] <= 2
