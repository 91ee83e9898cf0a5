"""Short ways to a response: a cached hit, and a route's plan; they begin in front of FastAPI's inner layers.

A short way either responds, or returns what the rest of the request is received by: then the request continues through
FastAPI's error handlers, its router and the route's own application, as if there were no short ways. So a short way
decides nothing new. All middleware runs in any case, because this layer is the innermost.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.plan import NoPlanError, Plan
from app.api.route_index import RouteIndex
from app.api.routes import once_per_route
from app.core.cache.lane import create_lane

ShortWay = Callable[[Scope, Receive, Send], Awaitable[Receive | None]]


def _create(route: BaseRoute) -> tuple[ShortWay, ...]:
    if not isinstance(route, APIRoute):
        return ()
    lane = create_lane(route)
    ways: list[ShortWay] = [lane] if lane else []
    with suppress(NoPlanError):
        ways.append(Plan(route))
    return tuple(ways)


def short_ways_of(route: BaseRoute) -> tuple[ShortWay, ...]:
    return once_per_route(route, "short_ways", partial(_create, route))


def prepare_short_ways(routes: Iterable[BaseRoute]) -> None:
    """Makes them before the first request."""
    for route in routes:
        short_ways_of(route)


class ShortWaysMiddleware:
    """The innermost layer around FastAPI's own ones; `index` finds the route for both."""

    def __init__(self, app: ASGIApp, index: RouteIndex) -> None:
        self.app = app
        self._index = index

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if route := self._index.locate(scope):
            for way in short_ways_of(route):
                remaining = await way(scope, receive, send)
                if remaining is None:
                    return
                receive = remaining
        await self.app(scope, receive, send)
