"""The scripts that create the first rows: they can be repeated, and fail with one clear line."""

import asyncio
import os
import socket
import time

import httpx
import pytest

from app.core.db.connector import CONNECT_TIMEOUT_SECONDS
from app.core.db.database import Database, open_database
from app.crud.crud_tier import crud_tiers
from app.crud.crud_users import crud_users
from dev.local.ports import free_port
from src.scripts import first_rows
from tests.conftest import MEASURED, Services
from tests.helper import API, Rows
from tests.support.forks import run_python

ADMIN = {
    "ADMIN_NAME": "First Admin",
    "ADMIN_EMAIL": "First@Example.com",
    "ADMIN_USERNAME": "firstadmin",
    "ADMIN_PASSWORD": "a password of our own",
}


async def run(name: str, environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Exit status and everything printed, of `python -m src.scripts.NAME` in the project's root."""
    return await asyncio.to_thread(
        run_python, "-m", f"src.scripts.{name}", *arguments, environment=os.environ | MEASURED | environment
    )


async def log_in(client: httpx.AsyncClient, password: str) -> httpx.Response:
    return await client.post(f"{API}/login", data={"username": ADMIN["ADMIN_USERNAME"], "password": password})


async def test_superuser_is_created_once(services: Services, empty_database: str) -> None:
    environment = services.environment(POSTGRES_DB=empty_database, **ADMIN)
    created = await run("create_first_superuser", environment)
    again = await run("create_first_superuser", environment)

    where = f"(database {empty_database} at {services.postgres.host}:{services.postgres.port})"
    assert created == (0, f"superuser firstadmin created {where}\n")
    assert again == (0, f"superuser firstadmin exists already and was not changed {where}\n")
    async with open_database(services.settings(POSTGRES_DB=empty_database)) as database:
        user = await crud_users.read(database, "firstadmin")
    assert (user.is_superuser, user.email, user.name) == (True, "first@example.com", "First Admin")


async def test_another_password_is_reported_and_set_on_request(
    services: Services, client: httpx.AsyncClient, rows: Rows
) -> None:
    """The sessions that began with the old password end."""
    old, new = services.environment(**ADMIN), services.environment(**ADMIN | {"ADMIN_PASSWORD": "the new password"})
    await run("create_first_superuser", old)
    token = (await log_in(client, ADMIN["ADMIN_PASSWORD"])).json()["access_token"]

    status, output = await run("create_first_superuser", new)
    assert (status, output.count("\n")) == (0, 1)
    assert "exists already and was not changed; its password is not ADMIN_PASSWORD" in output
    assert "python -m src.scripts.create_first_superuser --reset-password" in output
    assert (await log_in(client, ADMIN["ADMIN_PASSWORD"])).is_success

    status, output = await run("create_first_superuser", new, "--reset-password")
    assert (status, output.count("\n")) == (0, 1)
    assert output.startswith("superuser firstadmin has ADMIN_PASSWORD as its password now, and all its sessions have")
    assert (await log_in(client, "the new password")).is_success
    assert (await log_in(client, ADMIN["ADMIN_PASSWORD"])).status_code == 401
    me = await client.get(f"{API}/user/me", headers={"Authorization": f"Bearer {token}"})
    assert me.status_code == 401


async def test_a_reset_creates_a_missing_superuser(services: Services, rows: Rows) -> None:
    status, output = await run("create_first_superuser", services.environment(**ADMIN), "--reset-password")
    assert status == 0
    assert output.startswith("superuser firstadmin created (database ")


async def test_simultaneous_runs_agree(services: Services, empty_database: str) -> None:
    environment = services.environment(POSTGRES_DB=empty_database, **ADMIN)
    results = await asyncio.gather(
        *(run(name, environment) for name in ("create_first_superuser", "create_first_tier") * 3)
    )

    assert [status for status, _ in results] == [0] * 6, results


async def test_tier_is_created_once(services: Services, empty_database: str) -> None:
    environment = services.environment(POSTGRES_DB=empty_database, TIER_NAME="basic")
    created = await run("create_first_tier", environment)
    again = await run("create_first_tier", environment)

    where = f"(database {empty_database} at {services.postgres.host}:{services.postgres.port})"
    assert created == (0, f"tier basic created {where}\n")
    assert again == (0, f"tier basic exists already and was not changed {where}\n")
    async with open_database(services.settings(POSTGRES_DB=empty_database)) as database:
        assert (await crud_tiers.read(database, "basic")).id == 1


SUPERUSER_FAILURES: list[tuple[dict[str, str], str]] = [
    ({"ADMIN_EMAIL": "your_email"}, "error: ADMIN_EMAIL: replace the placeholder in src/.env"),
    ({"ADMIN_PASSWORD": "your_password"}, "error: ADMIN_PASSWORD: replace the placeholder in src/.env"),
    ({"ADMIN_EMAIL": "nonsense"}, "error: ADMIN_EMAIL: "),
    ({"ADMIN_USERNAME": "Not Valid"}, "error: ADMIN_USERNAME: "),
    ({"ADMIN_USERNAME": "users"}, "error: ADMIN_USERNAME: a route of the API needs this name"),
    ({"ADMIN_PASSWORD": "short"}, "error: ADMIN_PASSWORD: "),
    ({"POSTGRES_PORT": "1", "DATABASE_WAIT_SECONDS": "0"}, "error: cannot connect to the database"),
    ({"POSTGRES_PASSWORD": "wrong"}, "error: cannot connect to the database"),
    ({"POSTGRES_DB": "no_such_database"}, "error: cannot connect to the database"),
]


@pytest.mark.parametrize(
    ("changes", "reason"), SUPERUSER_FAILURES, ids=[str(changes) for changes, _ in SUPERUSER_FAILURES]
)
async def test_superuser_fails_with_one_clear_line(services: Services, changes: dict[str, str], reason: str) -> None:
    status, output = await run("create_first_superuser", services.environment() | ADMIN | changes)

    assert status == 1
    assert output.startswith(reason), output
    assert output.count("\n") == 1
    assert "wrong" not in output
    assert services.postgres.password not in output


async def create_nothing(database: Database) -> str:
    return "nothing created"


@pytest.mark.parametrize("is_refused", [True, False], ids=["refuses connections", "never responds"])
def test_an_unreachable_database_is_reported_in_time(
    services: Services, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_refused: bool
) -> None:
    """However long DATABASE_WAIT_SECONDS is; the wait is shortened here."""
    longest = first_rows.LONGEST_WAIT_SECONDS
    assert longest + CONNECT_TIMEOUT_SECONDS < 15
    monkeypatch.setattr(first_rows, "LONGEST_WAIT_SECONDS", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = free_port() if is_refused else silent.getsockname()[1]
        silent.listen()
        monkeypatch.setattr(first_rows, "settings", services.settings(POSTGRES_SERVER="127.0.0.1", POSTGRES_PORT=port))
        begin = time.monotonic()
        status = first_rows.run(create_nothing)
        waited = time.monotonic() - begin
    assert status == 1
    assert 1 <= waited < 1 + CONNECT_TIMEOUT_SECONDS + 2
    assert capsys.readouterr().err.startswith("error: cannot connect to the database: ")


async def test_an_ordinary_user_of_that_name_is_not_promoted(services: Services, rows: Rows) -> None:
    await rows.user("firstadmin")
    status, output = await run("create_first_superuser", services.environment(**ADMIN))

    assert (status, output.count("\n")) == (1, 1)
    assert not (await crud_users.read(rows.database, "firstadmin")).is_superuser


@pytest.mark.parametrize("name", ["", "a/b", "x" * 51])
async def test_tier_fails_with_one_clear_line(services: Services, rows: Rows, name: str) -> None:
    status, output = await run("create_first_tier", services.environment(TIER_NAME=name))

    if not name:
        assert status == 0
        assert output.startswith("tier free created "), "an empty value counts as missing"
    else:
        assert status == 1
        assert output.startswith("error: TIER_NAME: ")
        assert output.count("\n") == 1


async def test_unusable_settings_end_with_their_reason(services: Services) -> None:
    status, output = await run("create_first_superuser", services.environment(POSTGRES_PORT="many"))

    assert status == 1
    assert "POSTGRES_PORT: " in output
    assert "Traceback" not in output
