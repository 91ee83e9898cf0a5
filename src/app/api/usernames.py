"""Usernames that would be mistaken for a part of a route."""

import re
from collections.abc import Iterable

from fastapi import Request
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute

from app.core.exceptions.http_exceptions import DuplicateValueException

_PARAMETER = re.compile(r"\{[^}]*\}")


def literal_segments(routes: Iterable[BaseRoute]) -> frozenset[str]:
    """Every literal part of every route's path: `user`, `me`, `tasks`, …"""
    paths = (context.path or "" for context in iter_route_contexts(list(routes)))
    return frozenset(part for path in paths for part in _PARAMETER.sub("", path).split("/") if part)


def refuse_reserved(request: Request, username: str) -> None:
    """Raises 422 if a route needs the name."""
    reserved: frozenset[str] = request.app.state.reserved_usernames
    if username in reserved:
        raise DuplicateValueException("Username not available")
