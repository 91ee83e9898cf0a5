"""The types of settings' values: what can never work is refused at the start, with the value that does."""

import re
from ipaddress import ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from app.core.settings.base import CommaSeparated

SECONDS_PER_YEAR = 366 * 24 * 3600
DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")

Port = Annotated[int, Field(ge=1, le=65535)]
RedisDatabase = Annotated[int, Field(ge=0)]
Period = Annotated[int, Field(ge=1, le=SECONDS_PER_YEAR)]
"""Seconds for which events are counted or something is kept; more than a year is a mistake."""
Seconds = Annotated[int, Field(ge=0, le=SECONDS_PER_YEAR)]
LifetimeMinutes = Annotated[int, Field(ge=1, le=10 * 366 * 24 * 60)]
LifetimeDays = Annotated[int, Field(ge=1, le=10 * 366)]
"""Of tokens: ten years at most, because a date far beyond cannot be represented."""
DatabaseTimeout = Annotated[int, Field(ge=0, le=2_000_000)]
"""Seconds, 0 for no limit; PostgreSQL counts milliseconds in 32 bits."""
Requests = Annotated[int, Field(ge=1, le=2**31 - 1)]
Bytes = Annotated[int, Field(ge=1, le=2**31 - 1)]
Secret = Annotated[str, Field(repr=False)]


def _as_browsers_send(origin: str) -> str:
    """Scheme, host and port in lower case, without the scheme's default port (RFC 6454)."""
    parts = urlsplit(origin if "://" in origin else f"https://{origin}")
    port = f":{parts.port}" if parts.port and parts.port != DEFAULT_PORTS.get(parts.scheme) else ""
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _check_origins(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value == "*":
            continue
        sent = _as_browsers_send(value)
        if value != sent or urlsplit(sent).scheme not in DEFAULT_PORTS or not urlsplit(sent).hostname:
            raise ValueError(f"{value!r} is never sent by a browser: write an origin such as {sent!r}")
    return values


def _check_hosts(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not _HOST.fullmatch(value):
            host = urlsplit(value if "://" in value else f"//{value}").hostname or "api.example.com"
            raise ValueError(f"{value!r} is not the name of a host: leave out scheme, port and path, such as {host!r}")
    return values


def _check_address(value: str) -> str:
    if urlsplit(value).scheme not in DEFAULT_PORTS or not urlsplit(value).hostname:
        raise ValueError(f"{value!r} is not an address: write one such as 'http://localhost:4318'")
    return value.rstrip("/")


def _check_networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        ip_network(value, strict=False)
    return values


HttpAddress = Annotated[str, AfterValidator(_check_address)]
Origins = Annotated[CommaSeparated, AfterValidator(_check_origins)]
Hosts = Annotated[CommaSeparated, AfterValidator(_check_hosts)]
Networks = Annotated[CommaSeparated, AfterValidator(_check_networks)]
