"""An index over the application's flat list of routes: a request's route is found in one step.

A request that the index does not find (404, 405, a missing slash, a mount, a websocket) goes to FastAPI's own router:
each response is the one that FastAPI gives for the same list. Routes may be added at any time.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.redirects import with_relative_location
from app.api.routes import flatten

_NAMED_GROUP = re.compile(r"\(\?P<\w+>")
_MATCHES_NOTHING = r"(?!)"
_LOCATED_BY = "app.located_by"
FAILURE = "app.failure"
"""The key in the scope for an exception that the request has already met: FastAPI's error handlers respond to it."""


@dataclass(frozen=True, slots=True)
class _Dynamic:
    """A route with parameters, and for each of them its name, its group in the table's expression, and its type."""

    route: Route | Mount
    parameters: tuple[tuple[str, int, Callable[[str], Any]], ...]


class _Table:
    """The routes of one method: literal paths in a dictionary, the others as one regular expression, in their order."""

    def __init__(self, routes: Iterable[Route | Mount]) -> None:
        self._literal: dict[str, Route] = {}
        self._by_group: dict[int, _Dynamic] = {}
        alternatives: list[str] = []
        groups = 0
        for route in routes:
            if isinstance(route, Route) and not route.param_convertors:
                # An earlier route with a parameter may match the same path: then it is found first, as in FastAPI.
                if not any(earlier.route.path_regex.match(route.path) for earlier in self._by_group.values()):
                    self._literal.setdefault(route.path, route)
                continue
            alternatives.append(f"{_NAMED_GROUP.sub('(', route.path_regex.pattern)}()")
            parameters = [
                (name, groups + index, route.param_convertors[name].convert)
                for name, index in route.path_regex.groupindex.items()
            ]
            groups += route.path_regex.groups + 1
            self._by_group[groups] = _Dynamic(route, tuple(parameters))
        self._match = re.compile("|".join(alternatives) or _MATCHES_NOTHING).match

    def find(self, path: str) -> tuple[Route, dict[str, Any]] | None:
        """The route and its path parameters; None where FastAPI has to decide."""
        if route := self._literal.get(path):
            return route, {}
        # A `$` also matches before a newline at the end, so that such a path may belong to a literal route.
        found = None if path.endswith("\n") else self._match(path)
        matching = self._by_group[found.lastindex] if found and found.lastindex else None
        if found is None or matching is None or not isinstance(matching.route, Route):
            return None
        return matching.route, {name: convert(found[group]) for name, group, convert in matching.parameters}


def _indexable(routes: Iterable[BaseRoute]) -> Iterator[Route | Mount]:
    """The routes for HTTP, up to the first that only FastAPI can match."""
    for route in routes:
        if isinstance(route, Route | Mount):
            yield route
        elif not isinstance(route, WebSocketRoute):
            return


def _serves(route: Route | Mount, method: str) -> bool:
    return isinstance(route, Mount) or not route.methods or method in route.methods


def _route_path(scope: Scope) -> str:
    root: str = scope.get("root_path", "")
    path: str = scope["path"]
    return path[len(root) :] if root and (path == root or path.startswith(f"{root}/")) else path


def _name_route(telemetry: Any, route: Route) -> None:
    """Tells FastAPI's telemetry the route, as FastAPI's router does."""
    telemetry.route = route.path_format
    if telemetry.span is not None:
        telemetry.span.set_attribute("http.route", route.path_format)
        telemetry.span.update_name(f"{telemetry.span_method} {route.path_format}")


class RouteIndex:
    """A router's application with the index in front; create it with `install_index`."""

    def __init__(self, app: ASGIApp, router: APIRouter) -> None:
        self._app = app
        self._router = router
        self._tables: dict[str, _Table] = {}
        self._indexed: list[BaseRoute] = []

    def _refresh(self) -> None:
        flatten(self._router)
        self._indexed = list(self._router.routes)
        routes = list(_indexable(self._indexed))
        methods = {method for route in routes if isinstance(route, Route) for method in route.methods or ()}
        self._tables = {method: _Table(route for route in routes if _serves(route, method)) for method in methods}

    def _find(self, scope: Scope) -> tuple[Route, dict[str, Any]] | None:
        if scope["type"] != "http" or self._router.form_limits:
            return None
        if len(self._indexed) != len(self._router.routes):
            self._refresh()
        table = self._tables.get(scope["method"])
        return table.find(_route_path(scope)) if table else None

    def locate(self, scope: Scope) -> Route | None:
        """The request's route, entered into the scope as FastAPI does it; None if FastAPI's router has to find it."""
        if scope.get(_LOCATED_BY) is self:
            located: Route = scope["route"]
            return located
        if (found := self._find(scope)) is None:
            return None
        route, parameters = found
        scope.setdefault("router", self._router)
        scope["route"] = route
        scope["endpoint"] = route.endpoint
        scope["path_params"] = {**scope.get("path_params", {}), **parameters}
        scope[_LOCATED_BY] = self
        if (telemetry := scope.get("fastapi.telemetry")) is not None:
            _name_route(telemetry, route)
        return route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if FAILURE in scope:
            raise scope[FAILURE]
        if route := self.locate(scope):
            await route.app(scope, receive, send)
        else:
            await self._app(scope, receive, with_relative_location(scope, send))


def install_index(router: APIRouter) -> RouteIndex:
    """Puts the index in front of the router; it follows routes that are added later."""
    index = RouteIndex(router.middleware_stack, router)
    router.middleware_stack = index
    return index
