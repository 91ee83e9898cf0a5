"""`docker compose up` in a fresh checkout, without a file made by hand."""

import os
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.compose.conftest import Project
from tests.helper import API
from tests.support.readme import chapter

pytestmark = pytest.mark.compose


@pytest.fixture(scope="module")
def project(make_project: Callable[..., Project]) -> Iterator[Project]:
    project = make_project("development")
    project.compose("build")
    begin = time.monotonic()
    project.compose("up", "--detach")
    project.wait_for(f"http://127.0.0.1:{project.web_port}{API}/ready")
    print(f"\ncold `up`: {time.monotonic() - begin:.1f} s")
    yield project
    project.compose("--profile", "*", "down", "--volumes", "--timeout", "5")


@pytest.fixture
def web(project: Project) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{project.web_port}", timeout=15) as client:
        yield client


def eventually(claim: Callable[[], bool], seconds: float = 40) -> bool:
    deadline = time.monotonic() + seconds
    while not claim() and time.monotonic() < deadline:
        time.sleep(0.5)
    return claim()


def test_up_gives_the_lines_and_the_docs_of_the_readme(project: Project, web: httpx.Client) -> None:
    assert web.get("/docs").status_code == 200
    lines = ("redis_version=", "database system is ready to accept connections", "Application startup complete.")
    assert eventually(lambda: all(line in project.compose("logs") for line in lines))


def test_superuser_and_tier_are_there(project: Project, web: httpx.Client) -> None:
    admin = {"username": "admin", "password": "change-this-password"}
    assert eventually(lambda: web.post(f"{API}/login", data=admin).status_code == 200)
    assert eventually(lambda: web.get(f"{API}/tier/free").status_code == 200)


def test_the_superuser_script_runs_again(project: Project) -> None:
    assert "superuser admin exists already" in project.compose("run", "--rm", "create_superuser")


def test_the_worker_runs_tasks(web: httpx.Client) -> None:
    task = web.post(f"{API}/tasks/task", params={"message": "hello"}).json()["id"]
    assert eventually(lambda: web.get(f"{API}/tasks/task/{task}").json()["status"] == "complete")


def test_everything_becomes_healthy_and_is_reachable_from_this_machine_only(project: Project) -> None:
    def healthy() -> bool:
        return project.compose("ps", "--format", "{{.Service}} {{.Health}}").count(" healthy") == 4

    assert eventually(healthy, 60), project.compose("ps")
    assert "0.0.0.0:" not in project.compose("ps", "--format", "{{.Ports}}")


def test_a_change_of_the_code_restarts_the_api(project: Project, web: httpx.Client) -> None:
    health = project.folder / "src/app/api/v1/health.py"
    health.write_text(health.read_text().replace('Health(status="ok")', 'Health(status="o" + "k")'))
    assert eventually(lambda: "Reloading" in project.compose("logs", "web"))
    project.wait_for(f"http://127.0.0.1:{project.web_port}{API}/health")


def test_the_nginx_profile_puts_nginx_in_front(project: Project) -> None:
    project.compose("--profile", "nginx", "up", "--detach")
    url = f"http://127.0.0.1:{project.nginx_port}"
    project.wait_for(f"{url}/docs")
    assert httpx.get(f"{url}/metrics").status_code == 404


def test_the_tests_run_in_a_container(project: Project) -> None:
    output = project.compose("run", "--rm", "--build", "pytest", "python", "-m", "pytest", "./tests/test_tier.py")
    assert " passed" in output
    assert " failed" not in output


def test_the_image_holds_no_tools_and_no_root(project: Project) -> None:
    run = ("run", "--rm", "--no-deps", "web")
    assert project.compose(*run, "sh", "-c", "id -u; command -v gcc make poetry || echo none").split()[-2:] == [
        "10001",
        "none",
    ]
    size = project.run("docker", "image", "inspect", "--format", "{{.Size}}", "fastapi-boilerplate-development")
    print(f"\nimage: {int(size) / 1e6:.0f} MB")


def test_the_pgadmin_profile_is_complete(project: Project) -> None:
    changed = ("env", "PGADMIN_LISTEN_PORT=8080", "docker", "compose", "--profile", "pgadmin", "config", "pgadmin")
    configuration = project.run(*changed)
    assert "dpage/pgadmin4" in configuration
    assert 'PGADMIN_LISTEN_PORT: "8080"' in configuration
    assert "target: 8080" in configuration


def test_the_servers_read_their_variables_from_the_env_file(project: Project) -> None:
    env_file = project.folder / "src" / ".env"
    env_file.write_text("POSTGRES_USER=\"owner\"\nREDIS_RATE_LIMIT_PASSWORD='a$b'\nSECRET_KEY=not-for-servers\n")
    try:
        configuration = project.compose("config")
    finally:
        env_file.unlink()
    assert "POSTGRES_USER: owner" in configuration
    assert "REDIS_PASSWORD: a$$b" in configuration
    assert "not-for-servers" not in configuration


def test_alembic_writes_its_file_as_the_user_of_this_machine(project: Project) -> None:
    """README 4.4."""
    commands = [line for line in chapter("4.4 Database").splitlines() if line.startswith("docker compose run")]
    (command,) = (line for line in commands if " revision " in line)
    project.run("sh", "-euc", command)
    (written,) = (project.folder / "src" / "migrations" / "versions").glob("*what_changes.py")
    assert written.stat().st_uid == os.getuid()
    written.unlink()
