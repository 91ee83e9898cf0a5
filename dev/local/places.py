"""Where each part of the application finds its server, and who said so."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

REDIS_PARTS = ["REDIS_CACHE", "REDIS_QUEUE", "REDIS_RATE_LIMIT"]
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
_PLACEHOLDERS = frozenset({"your_server", "your_host"})


class LocalSettings(Protocol):
    """What a local run needs of the application's settings; a feature that is switched off lacks its fields."""

    POSTGRES_USER: str
    POSTGRES_PASSWORD: str
    POSTGRES_SERVER: str
    POSTGRES_PORT: int
    POSTGRES_DB: str
    ADMIN_USERNAME: str
    ADMIN_PASSWORD: str


@dataclass(frozen=True)
class Place:
    """The address of one part's server: `part` is the prefix of its variables, such as REDIS_CACHE.

    It is `given` if the environment or `src/.env` sets the host, the port or the URL. `password` is empty if none is
    set there. `url_address` is the address of a URL, whose server is used and never started.
    """

    part: str
    host: str
    port: int
    password: str
    given: bool
    tls: bool
    url_address: str = ""

    @property
    def host_variable(self) -> str:
        return "POSTGRES_SERVER" if self.part == "POSTGRES" else f"{self.part}_HOST"

    @property
    def port_variable(self) -> str:
        return f"{self.part}_PORT"

    @property
    def password_variable(self) -> str:
        return f"{self.part}_PASSWORD"

    @property
    def is_placeholder(self) -> bool:
        """Whether the host is the README's example value."""
        return self.given and self.host in _PLACEHOLDERS

    @property
    def is_on_this_machine(self) -> bool:
        return self.host in _THIS_MACHINE

    def __str__(self) -> str:
        if self.url_address:
            return self.url_address
        # POSTGRES_SERVER may be several servers, and have their ports in it.
        has_ports = "," in self.host or self.host.count(":") == 1
        return self.host if has_ports else f"{self.host}:{self.port}"


def address_in(url: str) -> str:
    """Host and port, or the path of the socket: what may be shown of a URL with a password."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path


def find_place(settings: LocalSettings, part: str, given: Collection[str]) -> Place | None:
    """None if the settings lack the part, which switches its feature off."""
    host_variable = "POSTGRES_SERVER" if part == "POSTGRES" else f"{part}_HOST"
    host = getattr(settings, host_variable, None)
    if host is None:
        return None
    is_given = host_variable in given or f"{part}_PORT" in given
    password = getattr(settings, f"{part}_PASSWORD") if f"{part}_PASSWORD" in given else ""
    tls = getattr(settings, f"{part}_SSL", False)
    url = str(getattr(settings, f"{part}_URL")) if f"{part}_URL" in given else ""
    return Place(
        part,
        str(host),
        int(getattr(settings, f"{part}_PORT")),
        str(password),
        is_given or bool(url),
        bool(tls),
        address_in(url),
    )


def find_redis_places(settings: LocalSettings, given: Collection[str]) -> list[Place]:
    """The places of cache, queue and limits, as far as they are switched on."""
    found = (find_place(settings, part, given) for part in REDIS_PARTS)
    return [place for place in found if place]


def describe_servers(settings: LocalSettings) -> list[str]:
    """One line for the database, and one for each Redis server."""
    lines = []
    if place := find_place(settings, "POSTGRES", ()):
        lines.append(f"PostgreSQL     {place}, database {settings.POSTGRES_DB} (make psql)")
    urls = [getattr(settings, f"{part}_URL", None) for part in REDIS_PARTS]
    places = dict.fromkeys(address_in(url) for url in urls if url)
    lines += [f"Valkey         {place} (make valkey-cli)" for place in places]
    return lines
