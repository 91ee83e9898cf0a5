"""The address of a Redis: how the URL of a setting is read, and what is refused at the start."""

from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, Field
from sqlalchemy.engine import URL

FORMS = "redis://user:password@host:6379/0, rediss://... for TLS, or unix:///path/to/socket?db=0"
DEFAULT_PORT = 6379


class _AddressError(ValueError):
    """Its text contains nothing of the URL."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """One server, and who logs in there. `path` is that of a Unix socket, which takes the place of host and port."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: int
    tls: bool = False
    path: str = ""

    def __str__(self) -> str:
        """For people; without user and password."""
        return self.path or f"{self.host}:{self.port}"


def parse_redis_url(url: str) -> RedisAddress:
    """Raises `ValueError` with the right forms, and without any part of the URL: it may be a part of a password."""
    try:
        return _address(urlsplit(url))
    except ValueError as error:
        # The texts of the standard library's errors contain parts of the URL.
        reason = error if isinstance(error, _AddressError) else "it cannot be read"
        raise ValueError(
            f"{reason}: write {FORMS}, with a percent sign and its code for each of / ? # @ : % in a password"
        ) from None


def _address(parts: SplitResult) -> RedisAddress:
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise _AddressError("it is not the URL of a Redis")
    if parts.fragment:
        raise _AddressError("there is a # in it")
    is_socket = parts.scheme == "unix"
    if is_socket and (not parts.path or parts.hostname):
        raise _AddressError("the path of the socket must begin with a /")
    if not is_socket and not parts.hostname:
        raise _AddressError("it has no host")
    if parts.port == 0:
        raise _AddressError("the port is 0")
    return RedisAddress(
        host=parts.hostname or "",
        port=parts.port or DEFAULT_PORT,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=_database(_options(parts.query, "db") if is_socket else _no_options(parts)),
        tls=parts.scheme == "rediss",
        path=unquote(parts.path) if is_socket else "",
    )


def _no_options(parts: SplitResult) -> str:
    _options(parts.query)
    return parts.path.removeprefix("/")


def _options(query: str, *known: str) -> str:
    options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    if not options.keys() <= set(known):
        raise _AddressError("behind the ? is an option that is not known")
    return options.get("db", "")


def _database(text: str) -> int:
    if text and not (text.isascii() and text.isdecimal()):
        raise _AddressError("the database is not a number")
    return int(text or 0)


def _check(url: str) -> str:
    parse_redis_url(url)
    return url


RedisUrl = Annotated[str, AfterValidator(_check), Field(repr=False)]


def redis_url(host: str, port: int, password: str, database: int, tls: bool) -> str:
    """The address in the form that redis-py and arq read, any character of the password quoted."""
    url = URL.create(
        "rediss" if tls else "redis", "" if password else None, password or None, host, port, str(database)
    )
    return url.render_as_string(hide_password=False)
