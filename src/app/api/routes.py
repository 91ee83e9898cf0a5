"""What depends on how FastAPI keeps routes: a flat list of them, and what routes say about names.

FastAPI keeps included routers as a tree and matches every level of it twice per request, which is three quarters of the
cost of a small request. `flatten` replaces the tree by a list of complete routes when the application starts; OpenAPI,
`url_path_for` and `request.scope["route"]` use that list, and `app.api.route_index` finds a request's route in it.
"""

import re
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute, APIWebSocketRoute, RouteContext, iter_route_contexts
from starlette.routing import BaseRoute

Computed = TypeVar("Computed")
PATH_PARAMETER = re.compile(r"\{[^}]*\}")


def _is_complete(context: RouteContext) -> bool:
    """Whether FastAPI has built the route itself for its inclusion, with its path, dependencies and application."""
    return isinstance(context.original_route, APIRoute) or type(context.original_route) is APIWebSocketRoute


def _is_whole(included: BaseRoute) -> bool:
    """Whether the included router is nothing but its routes: it limits no forms and has no frontends."""
    router: APIRouter | None = getattr(included, "original_router", None)
    if router is None:
        return True
    frontends: list[Any] = getattr(included, "effective_low_priority_routes", list)()
    limits = getattr(getattr(included, "include_context", None), "form_limits", None) or router.form_limits
    return not frontends and not limits and all(map(_is_whole, router.routes))


def _included(context: RouteContext) -> BaseRoute:
    """The route as FastAPI has built it for its inclusion: nothing is built a second time."""
    route = copy(context.original_route)
    vars(route).update({name: getattr(context, name, value) for name, value in vars(route).items()})
    return route


def _begins_with_parameter(context: RouteContext) -> bool:
    return str(getattr(context.original_route, "path", "")).startswith("/{")


def _flat(route: BaseRoute) -> list[BaseRoute]:
    contexts = list(iter_route_contexts([route]))
    if [context.route for context in contexts] == [route]:
        return [route]
    if not _is_whole(route) or not all(map(_is_complete, contexts)):
        return [route]
    return [_included(context) for context in sorted(contexts, key=_begins_with_parameter)]


def flatten(router: APIRouter) -> None:
    """Replaces each included router by its routes, complete with the prefix and dependencies of the inclusion.

    Within an included router, routes whose own path begins with a parameter (`/{username}/posts`) go last, so that
    they never hide another one whatever the order of inclusion. A router with mounts, frontends or limits on forms
    stays as it is, and FastAPI finds its routes.
    """
    router.routes[:] = [each for route in router.routes for each in _flat(route)]


def once_per_route(route: BaseRoute, name: str, compute: Callable[[], Computed]) -> Computed:
    """What is computed once per route, and kept in it as the attribute `name`; a copy of the route has its own."""
    kept: tuple[BaseRoute, Computed] | None = getattr(route, name, None)
    if kept is None or kept[0] is not route:
        kept = (route, compute())
        setattr(route, name, kept)
    return kept[1]


def route_template(request: Request) -> str:
    """The path of the request's route as it is declared: `/api/v1/user/{username}`."""
    template: str = request.scope["route"].path_format
    return template


def route_templates(routes: Sequence[BaseRoute]) -> frozenset[str]:
    return frozenset(context.path_format for context in iter_route_contexts(routes) if context.path_format)


def reserved_names(routes: Sequence[BaseRoute]) -> frozenset[str]:
    """Every literal part of every route's path (`user`, `me`, `tasks`): as usernames they would hide routes."""
    paths = (context.path or "" for context in iter_route_contexts(routes))
    return frozenset(part for path in paths for part in PATH_PARAMETER.sub("", path).split("/") if part)
