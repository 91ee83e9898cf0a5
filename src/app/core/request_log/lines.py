"""How lines about requests look, as JSON and as text.

Nothing in them is free text of a client: methods and routes are known ones, and the request's id is well-formed. So no
client can forge a line, and there is no query string, no path parameter and no name. A line is put together by hand,
because `json.dumps` and a record of `logging` each take ten times as long.
"""

import json
import logging
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from app.core.log_text import NO_COLOUR, Lines

LOGGER = "app.requests"
QUIET_TAG = "health"
"""The routes with this tag are logged at DEBUG."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_COLOURS = {2: "\x1b[32m", 3: "\x1b[36m", 4: "\x1b[33m", 5: "\x1b[31m"}
_DIM = "\x1b[2m"

Entry = tuple[float, float, str, Any, int | None, int, object, bytes, str | None, bool]
"""One request: the time of its end, seconds taken, method, route (None: no route), status (None: the response had not
begun), bytes of the response's body, the caller's id (None: anonymous), the request's id, the trace's id, whether the
client left."""


class Kind(NamedTuple):
    """What the lines of requests with the same method, route and status have in common."""

    level: int
    json_start: str
    json_middle: str
    text_start: str
    text_status: str
    coloured_status: str
    text_route: str


@lru_cache(4096)
def _kind(method: str, template: str | None, status: int | None, is_quiet: bool, has_left: bool) -> Kind:
    method = method if method in METHODS else "OTHER"
    is_failure = status is not None and status >= 500 and not has_left
    level = logging.ERROR if is_failure else logging.DEBUG if is_quiet else logging.INFO
    name, shown = logging.getLevelName(level), "-" if status is None else str(status)
    message = json.dumps(f"{method} {template or '-'} {shown}")
    return Kind(
        level,
        json_start=f'"level": "{name}", "logger": "{LOGGER}", "message": {message}',
        json_middle=f'"method": "{method}", "route": {json.dumps(template)}, "status": {json.dumps(status)}',
        text_start=f"{name:<7} {LOGGER}: {method:<7}",
        text_status=f"{shown:<3}",
        coloured_status=f"{_COLOURS.get((status or 500) // 100, '')}{shown:<3}{NO_COLOUR}",
        text_route=template or "-",
    )


def kind_of(entry: Entry) -> Kind:
    _, _, method, route, status, *_, has_left = entry
    is_quiet = QUIET_TAG in getattr(route, "tags", ())
    return _kind(method, getattr(route, "path_format", None), status, is_quiet, has_left)


@lru_cache(8)
def _utc(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


@lru_cache(8)
def _local(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


@lru_cache(4096)
def _json_id(user_id: object) -> str:
    """Of any type: a product may identify its users by UUIDs."""
    return json.dumps(user_id, default=str)


def _as_json(entry: Entry, kind: Kind) -> str:
    ended_at, seconds, _, _, _, size, user_id, name, trace_id, has_left = entry
    second = int(ended_at)
    trace = f', "trace_id": "{trace_id}"' if trace_id else ""
    return (
        f'{{"time": "{_utc(second)}.{int((ended_at - second) * 1e6):06d}+00:00", {kind.json_start}, '
        f'"request_id": "{name.decode()}"{trace}, {kind.json_middle}, "duration_ms": {seconds * 1e3:.3f}, '
        f'"response_bytes": {size}, "user_id": {_json_id(user_id)}, '
        f'"client_left": {"true" if has_left else "false"}}}'
    )


def _as_text(entry: Entry, kind: Kind, coloured: bool) -> str:
    """Aligned, with what has no fixed length at the end."""
    ended_at, seconds, _, _, _, size, user_id, name, trace_id, has_left = entry
    second = int(ended_at)
    status = kind.coloured_status if coloured else kind.text_status
    user = "" if user_id is None else f" user={user_id}"
    left = " client left" if has_left else ""
    ids = f"trace={trace_id} [{name.decode()}]" if trace_id else f"[{name.decode()}]"
    return (
        f"{_local(second)}.{int((ended_at - second) * 1e3):03d} {kind.text_start} {status} {seconds * 1e3:9.1f} ms "
        f"{size:8d} B  {kind.text_route}{user}{left} {f'{_DIM}{ids}{NO_COLOUR}' if coloured else ids}"
    )


class RequestLines(Lines):
    """The lines of several requests; its own level is the highest of theirs."""

    def __init__(self, entries: Sequence[tuple[Entry, Kind]]) -> None:
        super().__init__(LOGGER, max(kind.level for _, kind in entries), __file__, 0, "", None, None)
        self.entries = entries
        self._json = ""

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        return self.as_text(coloured=False)

    def as_json(self) -> str:
        if not self._json:  # standard error and the file have the same
            self._json = "\n".join([_as_json(entry, kind) for entry, kind in self.entries])
        return self._json

    def as_text(self, *, coloured: bool) -> str:
        return "\n".join([_as_text(entry, kind, coloured) for entry, kind in self.entries])
