"""Streaming replication between real servers: a standby of a server, and what happens to the two."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from dev.local.programs import as_user, postgres_programs, unprivileged_account
from dev.services import POSTGRES_FAST, PostgresServer, temporary_folder
from tests.helper import eventually

PASSWORD = "p@ss/word #with? %20 'everything'"


def standby_of(primary: PostgresServer, data: Path, port: int | None = None) -> PostgresServer:
    """A copy of the server by `pg_basebackup`, not yet started, which follows it then."""
    standby = PostgresServer(data, port=port, password=primary.password, options=primary.options)
    cluster = standby.data / "cluster"
    cluster.mkdir(parents=True, mode=0o700)
    account = unprivileged_account(standby.data)
    if account:
        standby.data.chmod(0o755)
        os.chown(cluster, account.uid, account.gid)
    program = postgres_programs(account, standby.data) / "pg_basebackup"
    where = {"PGHOST": primary.host, "PGPORT": str(primary.port), "PGUSER": primary.user}
    subprocess.run(
        [program, "--pgdata", cluster, "--write-recovery-conf", "--checkpoint=fast", "--no-sync"],
        env=os.environ | where | {"PGPASSWORD": primary.password, "PGAPPNAME": "standby"},
        cwd="/",
        check=True,
        **as_user(account),
    )
    return standby


async def run(server: PostgresServer, statement: str, *arguments: object) -> Any:
    """Executes a statement as superuser; returns its first value."""
    connection = await asyncpg.connect(
        host=server.host, port=server.port, user=server.user, password=server.password, database="postgres"
    )
    try:
        return await connection.fetchval(statement, *arguments)
    finally:
        await connection.close()


async def configure(server: PostgresServer, **values: str) -> None:
    """Changes settings of the running server that need no restart."""
    for name, value in values.items():
        await run(server, f"ALTER SYSTEM SET {name} = '{value}'")
    await run(server, "SELECT pg_reload_conf()")


@dataclass(frozen=True, slots=True)
class Pair:
    """A primary and its standby, in the order in which the application knows them."""

    primary: PostgresServer
    standby: PostgresServer

    @property
    def hosts(self) -> str:
        """The value of POSTGRES_SERVER."""
        return ",".join(f"{server.host}:{server.port}" for server in (self.primary, self.standby))

    async def replicate_synchronously(self) -> None:
        """From now on a commit is acknowledged when the standby has it on its disk."""
        await configure(self.primary, synchronous_standby_names="*")
        await eventually(self._is_synchronous)

    async def disconnect(self) -> None:
        """The standby receives nothing from now on, as if the network was cut."""
        await configure(self.standby, primary_conninfo="")
        await eventually(self._is_detached)

    async def promote(self) -> None:
        assert await run(self.standby, "SELECT pg_promote()")

    async def _is_synchronous(self) -> bool:
        return bool(await run(self.primary, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"))

    async def _is_detached(self) -> bool:
        return not await run(self.primary, "SELECT count(*) FROM pg_stat_replication")


@contextmanager
def replicated(options: Sequence[str] = POSTGRES_FAST) -> Iterator[Pair]:
    """A primary with one standby that follows it asynchronously."""
    with temporary_folder() as folder, ExitStack() as stack:
        primary = stack.enter_context(PostgresServer(folder / "primary", password=PASSWORD, options=options))
        standby = stack.enter_context(standby_of(primary, folder / "standby"))
        yield Pair(primary, standby)
