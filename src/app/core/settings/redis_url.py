"""The address of a Redis: how the URL of a setting is read, and what is refused at the start."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, Field
from sqlalchemy.engine import URL

FORMS = (
    "redis://user:password@host:6379/0, rediss://... for TLS, unix:///path/to/socket?db=0, "
    "sentinel://user:password@host1:26379,host2:26379/service/0, "
    "or cluster://user:password@host1:6379,host2:6379"
)
DEFAULT_PORT = 6379
SENTINEL_PORT = 26379
_PATH_OF_SERVICE = re.compile(r"/(?P<service>[^/]+)(?:/(?P<database>.*))?")
_ENCODE = "with a percent sign and its code for each of / ? # @ : % in a password"


class _AddressError(ValueError):
    """Its text contains nothing of the URL."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where the server is, and who logs in there.

    `path` is that of a Unix socket. `nodes` (host and port) are of a Cluster, not necessarily all. `sentinels` know the
    server that is the primary of `service`. Each takes the place of host and port.
    """

    host: str = ""
    port: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    tls: bool = False
    path: str = ""
    nodes: tuple[tuple[str, int], ...] = ()
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_user: str = ""
    sentinel_password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """For people; without users and passwords."""
        several = ",".join(f"{host}:{port}" for host, port in self.nodes or self.sentinels)
        if several:
            return f"{self.service} of {several}" if self.service else several
        return self.path or f"{self.host}:{self.port}"


def parse_redis_url(url: str) -> RedisAddress:
    """Raises `ValueError` with the right forms, and without any part of the URL: it may be a part of a password."""
    try:
        parts = _split(url)
        if parts.fragment:
            raise _AddressError("there is a # in it")
        read = _READERS.get(parts.scheme)
        if read is None:
            raise _AddressError("it is not the URL of a Redis")
        return read(parts)
    except ValueError as error:
        # The texts of the standard library's errors contain parts of the URL.
        reason = error if isinstance(error, _AddressError) else "it cannot be read"
        raise ValueError(f"{reason}: write {FORMS}, {_ENCODE}") from None


def _split(url: str) -> SplitResult:
    # Newer versions of Python refuse the brackets of an IPv6 address that is not the first host of a list.
    has_list = url.startswith(("cluster:", "sentinel:"))
    return urlsplit(url.replace("[", "%5B").replace("]", "%5D") if has_list else url)


def _server(parts: SplitResult) -> RedisAddress:
    _options(parts)
    host, port = _place(parts, DEFAULT_PORT)
    database = _number(parts.path.removeprefix("/"))
    return RedisAddress(host, port, *_login(parts), database, tls=parts.scheme == "rediss")


def _socket(parts: SplitResult) -> RedisAddress:
    if not parts.path or parts.hostname:
        raise _AddressError("the path of the socket must begin with a /")
    database = _number(_options(parts, "db").get("db", ""))
    return RedisAddress("", 0, *_login(parts), database, path=unquote(parts.path))


def _cluster(parts: SplitResult) -> RedisAddress:
    if parts.path not in ("", "/"):
        raise _AddressError("a Cluster has no numbered databases")
    has_tls = _has_tls(_options(parts, "tls"))
    return RedisAddress("", 0, *_login(parts), tls=has_tls, nodes=_places(parts, DEFAULT_PORT))


def _sentinels(parts: SplitResult) -> RedisAddress:
    options = _options(parts, "tls", "sentinel_user", "sentinel_password")
    path = _PATH_OF_SERVICE.fullmatch(parts.path)
    if path is None:
        raise _AddressError("the name of the service is missing behind the hosts")
    return RedisAddress(
        "",
        0,
        *_login(parts),
        _number(path["database"] or ""),
        tls=_has_tls(options),
        sentinels=_places(parts, SENTINEL_PORT),
        service=unquote(path["service"]),
        sentinel_user=options.get("sentinel_user", ""),
        sentinel_password=options.get("sentinel_password", ""),
    )


_READERS: Mapping[str, Callable[[SplitResult], RedisAddress]] = {
    "cluster": _cluster,
    "redis": _server,
    "rediss": _server,
    "sentinel": _sentinels,
    "unix": _socket,
}


def _place(parts: SplitResult, default_port: int) -> tuple[str, int]:
    if not parts.hostname:
        raise _AddressError("it has no host")
    if parts.port == 0:
        raise _AddressError("the port is 0")
    return parts.hostname, parts.port or default_port


def _places(parts: SplitResult, default_port: int) -> tuple[tuple[str, int], ...]:
    hosts = unquote(parts.netloc.rpartition("@")[2]).split(",")
    return tuple(_place(urlsplit(f"//{host}"), default_port) for host in hosts)


def _has_tls(options: Mapping[str, str]) -> bool:
    if options.get("tls", "true") not in ("true", "false"):
        raise _AddressError("tls is neither true nor false")
    return options.get("tls") == "true"


def _login(parts: SplitResult) -> tuple[str, str]:
    return unquote(parts.username or ""), unquote(parts.password or "")


def _options(parts: SplitResult, *known: str) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    if not options.keys() <= set(known):
        raise _AddressError("behind the ? is an option that is not known")
    return options


def _number(text: str) -> int:
    if text and not (text.isascii() and text.isdecimal()):
        raise _AddressError("the database is not a number")
    return int(text or 0)


def _check(url: str) -> str:
    parse_redis_url(url)
    return url


def _check_no_cluster(url: str) -> str:
    if parse_redis_url(url).nodes:
        raise ValueError(
            "it cannot be a Cluster, where the keys that are changed at once are on several nodes: "
            "write redis://... or sentinel://..."
        )
    return url


RedisUrl = Annotated[str, AfterValidator(_check_no_cluster), Field(repr=False)]
ClusterUrl = Annotated[str, AfterValidator(_check), Field(repr=False)]
"""Also the URL of a Cluster."""


def redis_url(host: str, port: int, password: str, database: int, tls: bool) -> str:
    """The address in the form that redis-py and arq read, any character of the password quoted."""
    url = URL.create(
        "rediss" if tls else "redis", "" if password else None, password or None, host, port, str(database)
    )
    return url.render_as_string(hide_password=False)
