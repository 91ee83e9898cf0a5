"""The settings of the database: one server, or several of which one is the primary."""

import re
from collections.abc import Iterator
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, Field, PositiveInt, model_validator
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.core.settings.base import SettingsBase
from app.core.settings.values import DatabaseTimeout, Port, Seconds, Secret

_HOST = re.compile(r"(?P<name>[^:\[\]\s]+|\[(?P<ipv6>[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)\])(?::(?P<port>\d{1,5}))?")
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_LAST_PORT = 65535


class PostgresHost(NamedTuple):
    """Where one server is."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


def _hosts(value: str, default_port: int) -> Iterator[PostgresHost]:
    """Raises `ValueError` for what is neither `host` nor `host:port`."""
    for part in filter(None, map(str.strip, value.split(","))):
        if _BARE_IPV6.fullmatch(part):
            yield PostgresHost(part, default_port)
            continue
        found = _HOST.fullmatch(part)
        port = int((found and found["port"]) or default_port)
        if found is None or not 1 <= port <= _LAST_PORT:
            raise ValueError("this is not a host: write one such as 'db1', or several such as 'db1,db2:5433'")
        yield PostgresHost(found["ipv6"] or found["name"], port)


def _check_hosts(value: str) -> str:
    if not list(_hosts(value, _LAST_PORT)):
        raise ValueError("no host is given: write one such as 'db1', or several such as 'db1,db2:5433'")
    return value


def _check_url(value: str) -> str:
    """The error contains no part of the URL: it may be a part of a password."""
    try:
        url = make_url(value)
        is_right = url.drivername in ("postgresql", "postgres") and bool(url.host) and not url.query
    except (ArgumentError, ValueError):
        is_right = False
    if value and not is_right:
        form = "postgresql://user:password@host:5432/database"
        raise ValueError(f"write {form}, with a percent sign and its code for each of / ? # @ : % in a password")
    return value


PostgresHosts = Annotated[str, AfterValidator(_check_hosts)]
PostgresUrl = Annotated[str, AfterValidator(_check_url), Field(repr=False)]


class PostgresSettings(SettingsBase):
    """The database and its connection pool (sizes are per process).

    `POSTGRES_SERVER` is a host, or several with commas between them, each with its port if that is not `POSTGRES_PORT`.
    `POSTGRES_URL_READ` is a replica for reads, or empty. What it leaves out is as for the primary.
    """

    POSTGRES_USER: str = "postgres"
    POSTGRES_PASSWORD: Secret = "postgres"  # noqa: S105 - the public default, refused outside local
    POSTGRES_SERVER: PostgresHosts = "localhost"
    POSTGRES_PORT: Port = 5432
    POSTGRES_DB: str = "postgres"
    POSTGRES_URL_READ: PostgresUrl = ""
    DATABASE_POOL_SIZE: PositiveInt = 10
    DATABASE_MAX_OVERFLOW: Annotated[int, Field(ge=0)] = 10
    DATABASE_PGBOUNCER: bool = False
    DATABASE_WAIT_SECONDS: Seconds = 60
    DATABASE_STATEMENT_TIMEOUT_SECONDS: DatabaseTimeout = 20
    DATABASE_LOCK_TIMEOUT_SECONDS: DatabaseTimeout = 5
    DATABASE_IDLE_TRANSACTION_TIMEOUT_SECONDS: DatabaseTimeout = 20
    CREATE_TABLES_ON_START: bool = True

    @model_validator(mode="after")
    def _refuse_several_poolers(self) -> Self:
        # PgBouncer does not say whether its server is a standby, and no statement may ask it outside a transaction.
        if self.DATABASE_PGBOUNCER and len(self.POSTGRES_HOSTS) > 1:
            raise ValueError(
                "with DATABASE_PGBOUNCER, POSTGRES_SERVER has to be one PgBouncer, which finds the primary"
            )
        return self

    @property
    def POSTGRES_HOSTS(self) -> tuple[PostgresHost, ...]:
        """The servers in the order in which they are tried."""
        return tuple(_hosts(self.POSTGRES_SERVER, self.POSTGRES_PORT))

    @property
    def replica(self) -> Self | None:
        """The settings of the replica's connections; None without a replica."""
        if not self.POSTGRES_URL_READ:
            return None
        url = make_url(self.POSTGRES_URL_READ)
        changes = {
            "POSTGRES_SERVER": str(PostgresHost(url.host or "", url.port or self.POSTGRES_PORT)),
            "POSTGRES_USER": url.username or self.POSTGRES_USER,
            "POSTGRES_PASSWORD": url.password or self.POSTGRES_PASSWORD,
            "POSTGRES_DB": url.database or self.POSTGRES_DB,
            "POSTGRES_URL_READ": "",
            "DATABASE_PGBOUNCER": False,
        }
        return self.model_copy(update=changes)

    @property
    def POSTGRES_URL(self) -> str:
        """The address for SQLAlchemy's asyncpg dialect, any character of the password quoted."""
        first, *others = self.POSTGRES_HOSTS
        several = {
            "host": ",".join(host.name for host in self.POSTGRES_HOSTS),
            "port": ",".join(str(host.port) for host in self.POSTGRES_HOSTS),
            "target_session_attrs": "read-write",
        }
        url = URL.create(
            "postgresql+asyncpg",
            username=self.POSTGRES_USER,
            password=self.POSTGRES_PASSWORD,
            host=None if others else first.name,
            port=None if others else first.port,
            database=self.POSTGRES_DB,
            query=several if others else {},
        )
        return url.render_as_string(hide_password=False)
