"""Prints how long requests wait when the network to PostgreSQL is cut.

To be run by `unshare --net`, in a network namespace of its own: it drops all packets of a port there. Needs root.
"""

import asyncio
import json
import subprocess
import time

from sqlalchemy import text

from app.core.config import PostgresSettings
from app.core.db.database import Database, open_database
from dev.services import POSTGRES_FAST, PostgresServer, temporary_folder

PASSWORD = "secret"


def _cut(port: int) -> None:
    for side in ("--sport", "--dport"):
        subprocess.run(["iptables", "-A", "INPUT", "-p", "tcp", side, str(port), "-j", "DROP"], check=True)


async def _run(database: Database, statement: str) -> None:
    async with database.sessions() as db:
        await db.execute(text(statement))


async def _seconds_until_it_fails(database: Database, statement: str) -> float:
    begin = time.monotonic()
    try:
        await _run(database, statement)
    except Exception:  # noqa: BLE001 - which one it is does not matter here
        return time.monotonic() - begin
    raise AssertionError("the network is not cut")


async def _measure(server: PostgresServer) -> dict[str, float]:
    settings = PostgresSettings(
        POSTGRES_SERVER=server.host,
        POSTGRES_PORT=server.port,
        POSTGRES_USER=server.user,
        POSTGRES_PASSWORD=server.password,
        POSTGRES_DB="postgres",
    )
    async with open_database(settings) as database:
        await asyncio.gather(*(_run(database, "SELECT pg_sleep(0.1)") for _ in range(4)))
        waiting = asyncio.create_task(_seconds_until_it_fails(database, "SELECT pg_sleep(1)"))
        await asyncio.sleep(0.3)
        _cut(server.port)
        sent_later = await _seconds_until_it_fails(database, "SELECT 1")
        return {"waits already": await waiting, "sent later": sent_later}


def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with (
        temporary_folder() as folder,
        PostgresServer(folder / "postgres", password=PASSWORD, options=POSTGRES_FAST) as server,
    ):
        print(json.dumps(asyncio.run(_measure(server))))


if __name__ == "__main__":
    main()
