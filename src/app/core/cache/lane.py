"""Hits before dependencies: from the request's target to the stored bytes, without FastAPI's work in between.

A target is the path and the query string as sent, undecoded. The lane does not work out which key it means: the
full way, with all its validation, has served the same target before, and the lane remembers the key that it used. So
the lane has no rules of its own. A target that it does not remember, or that has no entry, goes the full way.

That is right where the key depends on the target alone and nothing else has to happen. So a route gets a lane only if
each of its dependencies is marked with `provides_only`, and neither they nor the endpoint declare headers, cookies or
a body. A dependency that limits, authenticates or sets headers is not marked: its route goes the full way each time.
`dependency_overrides` switch the lanes off while they are set. All middleware runs in any case.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from app.core.cache.entries import EntryKey
from app.core.cache.responses import send_hit
from app.core.cache.rules import CacheRule
from app.core.cache.store import ResponseCache
from app.core.features import read_resources

MAX_TARGETS = 4_096
"""Targets of one route in one process, at most about 2 MB; the oldest are removed first."""
MAX_TARGET_BYTES = 256
_LANE = "cache_lane"
_MARK = "provides_only"

Target = tuple[bytes, bytes]
Dependency = TypeVar("Dependency", bound=Callable[..., Any])


def provides_only(dependency: Dependency) -> Dependency:
    """Marks a dependency that a hit may skip: its result depends on the path and the query alone, or on neither."""
    setattr(dependency, _MARK, True)
    return dependency


def _declares_no_input(dependant: Dependant) -> bool:
    inputs = (dependant.header_params, dependant.cookie_params, dependant.body_params)
    return not any(inputs) and dependant.background_tasks_param_name is None


def _may_be_skipped(dependant: Dependant) -> bool:
    return (
        bool(getattr(dependant.call, _MARK, False))
        and _declares_no_input(dependant)
        and dependant.response_param_name is None
        and all(map(_may_be_skipped, dependant.dependencies))
    )


def _is_eligible(route: APIRoute) -> bool:
    return (
        isinstance(getattr(route.endpoint, "cache_rule", None), CacheRule)
        and "GET" in (route.methods or ())
        and _declares_no_input(route.dependant)
        and all(map(_may_be_skipped, route.dependant.dependencies))
    )


class HitLane:
    """The short way of one route."""

    def __init__(self) -> None:
        self._keys: dict[Target, EntryKey] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Receive | None:
        """None after a hit; otherwise the request has to go on, with what is returned."""
        key = self._keys.get((scope.get("raw_path", b""), scope["query_string"]))
        if key is not None and scope["method"] == "GET" and not scope["app"].dependency_overrides:
            cache: ResponseCache | None = read_resources(scope["app"]).responses
            entry = await cache.peek(key) if cache else None
            if entry is not None:
                await send_hit(entry, send)
                return None
        scope[_LANE] = self
        return receive

    def remember(self, scope: Scope, key: EntryKey) -> None:
        """For a target that the full way has found valid."""
        path, query = scope.get("raw_path"), scope["query_string"]
        if not path or len(path) + len(query) > MAX_TARGET_BYTES:
            return
        if len(self._keys) >= MAX_TARGETS:
            del self._keys[next(iter(self._keys))]
        self._keys[path, query] = key


def remember(request: Request, key: EntryKey) -> None:
    """Called on the full way, when the key has an entry."""
    lane: HitLane | None = request.scope.get(_LANE)
    if lane is not None:
        lane.remember(request.scope, key)


def create_lane(route: APIRoute) -> HitLane | None:
    """A lane for a cached route that allows it."""
    return HitLane() if _is_eligible(route) else None
