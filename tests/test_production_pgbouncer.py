"""The application behind PgBouncer in transaction mode, with fewer connections to PostgreSQL than it has itself."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import bindparam, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from app.api import router
from app.core.db.database import open_database
from app.core.setup import create_application
from app.models.tier import Tier
from app.models.user import User
from dev.local.ports import free_port
from dev.local.processes import wait_until
from dev.local.programs import as_user, unprivileged_account
from dev.services import temporary_folder
from tests.conftest import Services
from tests.helper import API, Rows
from tests.support.readme import ROOT

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="pgbouncer is not installed (Debian: apt-get install pgbouncer)"
)


def accepts_connections(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def bouncer(services: Services) -> Iterator[int]:
    """The port of PgBouncer as in production, with three connections to PostgreSQL; it does not run as root."""
    postgres, port = services.postgres, free_port()
    with temporary_folder() as folder:
        account = unprivileged_account(folder)
        script, password, writable = (folder / name for name in ("pgbouncer.sh", "postgres_password", "tmp"))
        shutil.copy(ROOT / "deploy" / script.name, script)
        password.write_text(postgres.password + "\n")
        writable.mkdir()
        writable.chmod(0o777)
        variables = {
            "POSTGRES_SERVER": postgres.host,
            "POSTGRES_PORT": str(postgres.port),
            "POSTGRES_USER": postgres.user,
            "POSTGRES_PASSWORD_FILE": str(password),
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "POOL_SIZE": "3",
            "MAX_CLIENTS": "200",
            "CONFIGURATION_FOLDER": str(writable),
            "PATH": f"{Path(str(PROGRAM)).parent}:/usr/bin:/bin",
        }
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(["sh", str(script)], stderr=log, env=variables, **as_user(account))
        try:
            assert wait_until(lambda: accepts_connections(port), 10), (folder / "log").read_text()
            yield port
        finally:
            process.terminate()
            process.wait()


async def test_timeouts_and_sessions_work_behind_it_too(services: Services, bouncer: int, rows: Rows) -> None:
    """PgBouncer refuses settings at the connection's start: each transaction begins with them, and none outlives it."""
    settings = services.settings(
        POSTGRES_PORT=bouncer, DATABASE_PGBOUNCER=True, DATABASE_STATEMENT_TIMEOUT_SECONDS=1, DATABASE_POOL_SIZE=4
    )
    author = await rows.user()
    async with open_database(settings) as database:
        with pytest.raises(OperationalError, match="statement timeout"):
            await database.execute(text("SELECT pg_sleep(3)"))
        async with database.sessions() as session:
            with pytest.raises(DBAPIError, match="statement timeout"):
                await session.execute(text("SELECT pg_sleep(3)"))
        with pytest.raises(IntegrityError):
            await database.execute(insert(Tier).values([{"name": "twice"}, {"name": "twice"}]))
        found = select(User.id, User.uuid, User.created_at).where(User.username == bindparam("username"))
        expected = [(author.user.id, author.user.uuid)] * 30
        read = await asyncio.gather(*(database.fetch_one(found, {"username": author.username}) for _ in range(30)))
        assert [tuple(row)[:2] for row in read if row] == expected
        plain = await rows.database.fetch_one(text("SELECT current_setting('statement_timeout')"))
        assert plain == ("20s",)


async def test_one_setting_makes_the_application_work_behind_a_transaction_pool(
    services: Services, bouncer: int, rows: Rows
) -> None:
    """Migrations, and many reads and writes at once over three connections."""
    settings = services.settings(
        POSTGRES_PORT=bouncer, DATABASE_PGBOUNCER=True, DATABASE_POOL_SIZE=20, DEFAULT_RATE_LIMIT_LIMIT=1000
    )
    author = await rows.user()
    app: FastAPI = create_application(router=router, settings=settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://testserver") as client:

            async def write_and_read(number: int) -> int:
                post = {"title": f"Post {number}", "text": "A text"}
                url = f"{API}/{author.username}/post"
                response = await client.post(url, json=post, headers=author.headers)
                assert response.status_code == 201, response.text
                found = await client.get(f"{url}/{response.json()['id']}")
                assert found.json()["title"] == post["title"]
                return (await client.get(f"{API}/{author.username}/posts")).status_code

            for _ in range(3):
                assert set(await asyncio.gather(*(write_and_read(n) for n in range(40)))) == {200}
