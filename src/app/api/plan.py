"""A route's dependencies and parameters as a list of steps, in the order in which FastAPI takes them.

FastAPI walks through the tree of dependencies for each request, and inspects it anew. A plan is made once per route,
from FastAPI's own `Dependant` and its fields, and only runs the list. It serves requests that are valid:

- All values are validated before the first step. If one is missing or invalid, the request goes FastAPI's way from its
  beginning, with the body that was already received. So every 422 is FastAPI's own.
- An exception of a step goes to FastAPI's error handlers, which respond to it as to every other.
- A route has no plan if it uses anything else than coroutine functions, path, query, header and cookie parameters of
  simple types, and one JSON body. Dependencies with `yield` or in a thread, security scopes, forms, background tasks,
  streams and own classes of routes: FastAPI serves these, and every route while `dependency_overrides` are set.
"""

import inspect
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin
from uuid import UUID

from fastapi import Request, Response
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.params import Body
from fastapi.routing import APIRoute
from fastapi.utils import is_body_allowed_for_status_code
from starlette.types import Receive, Scope, Send

from app.api.received import Received
from app.api.route_index import FAILURE
from app.core.serialization import to_response

_SCALARS = (str, int, float, Decimal, UUID, date, time, timedelta, Enum, NoneType)
_SOURCES = {
    "path_params": "path_params",
    "query_params": "query_params",
    "header_params": "headers",
    "cookie_params": "cookies",
}
"""Where the values of a `Dependant`'s parameters are in a `Request`."""
_REQUEST, _RESPONSE, _FIRST = 0, 1, 2
"""Slots: the two that every plan has, and the first of its own."""

Slots = list[Any]


class NoPlanError(Exception):
    """The route uses something that only FastAPI knows."""


@dataclass(frozen=True, slots=True)
class _Value:
    """A parameter: FastAPI's field, its name in an attribute of the request, and the slot for the valid value."""

    field: Any
    source: str
    name: str
    slot: int

    def read(self, request: Request, slots: Slots) -> bool:
        given = getattr(request, self.source).get(self.name)
        if given is not None:
            slots[self.slot], errors = self.field.validate(given)
            return not errors
        if self.field.field_info.is_required():
            return False
        slots[self.slot] = deepcopy(self.field.get_default())
        return True


@dataclass(frozen=True, slots=True)
class _Body:
    """A parameter that is the whole JSON body."""

    field: Any
    slot: int

    def read(self, given: Any, slots: Slots) -> bool:
        slots[self.slot], errors = self.field.validate(given)
        return not errors


@dataclass(frozen=True, slots=True)
class _Step:
    """A function to call: the slots of its arguments, and the slot for its result."""

    call: Callable[..., Any]
    arguments: tuple[tuple[str, int], ...]
    slot: int


@dataclass(slots=True)
class _Steps:
    """What is collected on the way through the tree."""

    values: list[_Value] = field(default_factory=list)
    bodies: list[_Body] = field(default_factory=list)
    steps: list[_Step] = field(default_factory=list)
    slots: int = _FIRST
    _known: dict[tuple[Callable[..., Any], str | None], int] = field(default_factory=dict)

    def add(self, node: Dependant) -> int:
        """The slot of the function's result; it is called once, wherever it is in the tree."""
        call = _known_call(node)
        key = (call, node.scope)
        if key not in self._known:
            arguments = tuple(self._arguments(node))
            self._known[key] = self._new_slot()
            self.steps.append(_Step(call, arguments, self._known[key]))
        return self._known[key]

    def _arguments(self, node: Dependant) -> Iterator[tuple[str, int]]:
        for each in node.dependencies:
            slot = self.add(each)
            if each.name is not None:
                yield each.name, slot
        for kind, source in _SOURCES.items():
            for value in getattr(node, kind):
                name = value.validation_alias or value.alias
                self.values.append(_Value(_simple(value), source, name, self._new_slot()))
                yield value.name, self.values[-1].slot
        for body in node.body_params:
            self.bodies.append(_Body(body, self._new_slot()))
            yield body.name, self.bodies[-1].slot
        for name in filter(None, (node.request_param_name, node.http_connection_param_name)):
            yield name, _REQUEST
        if node.response_param_name:
            yield node.response_param_name, _RESPONSE

    def _new_slot(self) -> int:
        self.slots += 1
        return self.slots - 1


def _known_call(node: Dependant) -> Callable[..., Any]:
    call = node.call
    function = call if inspect.isroutine(call) else type(call).__call__
    inner = inspect.unwrap(function)
    if call is None or not inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(inner):
        raise NoPlanError("not a coroutine function")
    if inspect.isgeneratorfunction(inner) or not node.use_cache or node.concurrency is not None:
        raise NoPlanError("a dependency with options")
    if node.security_scopes_param_name or node.own_oauth_scopes:
        raise NoPlanError("security scopes")
    if node.background_tasks_param_name or node.websocket_param_name:
        raise NoPlanError("a parameter that only FastAPI provides")
    return call


def _is_scalar(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, UnionType):
        return all(map(_is_scalar, get_args(annotation)))
    is_class = isinstance(annotation, type) and issubclass(annotation, _SCALARS)
    return is_class or get_origin(annotation) is Literal


def _simple(parameter: Any) -> Any:
    info = parameter.field_info
    has_one_name = info.validation_alias is None or isinstance(info.validation_alias, str)
    if not _is_scalar(info.annotation) or not has_one_name or parameter.config or info.validate_default:
        raise NoPlanError("a parameter of several values or names")
    return parameter


def _check_route(route: APIRoute, steps: _Steps) -> None:
    is_own_class = type(route) is not APIRoute
    if is_own_class or not isinstance(route.response_class, DefaultPlaceholder) or route.response_field is None:
        raise NoPlanError("a response of its own")
    if not is_body_allowed_for_status_code(route.status_code) or route.is_sse_stream or route.is_json_stream:
        raise NoPlanError("a response without a body, or a stream")
    # Where FastAPI embeds bodies in an object, or mixes them with forms, its field is none of the parameters'.
    fields = [body.field for body in steps.bodies]
    if fields and (type(fields[0].field_info) is not Body or all(each is not route.body_field for each in fields)):
        raise NoPlanError("several bodies, or a form")


class _Injected(Response):
    """The response that dependencies and the endpoint may take, to set headers and the status."""

    def __init__(self) -> None:
        self.status_code = None  # type: ignore[assignment] # nobody has set it, as in FastAPI
        self.background = None
        self.body = b""
        self.raw_headers = []


class Plan:
    """Serves valid requests to one route. Raises `NoPlanError` for a route that FastAPI has to serve."""

    def __init__(self, route: APIRoute) -> None:
        steps = _Steps()
        steps.add(route.dependant)
        _check_route(route, steps)
        *self._steps, self._endpoint = steps.steps
        self._values = steps.values
        self._bodies = steps.bodies
        self._slots = steps.slots
        self._overrides_provider = route.dependency_overrides_provider

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Receive | None:
        """None after a response; otherwise FastAPI's way has to go on, with what is returned."""
        if getattr(self._overrides_provider, "dependency_overrides", None):
            return receive
        received = Received(receive)
        request = Request(scope, received, send)
        slots: Slots = [None] * self._slots
        slots[_REQUEST] = request
        slots[_RESPONSE] = injected = _Injected()
        are_valid = all(value.read(request, slots) for value in self._values)
        if not are_valid or (self._bodies and not await self._read_bodies(request, slots)):
            return received.again
        try:
            for step in self._steps:
                slots[step.slot] = await step.call(**{name: slots[slot] for name, slot in step.arguments})
            endpoint = self._endpoint
            result = await endpoint.call(**{name: slots[slot] for name, slot in endpoint.arguments})
            response = await _response(result, request, injected)
        except Exception as error:  # noqa: BLE001 - the error handlers are FastAPI's
            scope[FAILURE] = error
            return received.again
        await response(scope, received, send)
        return None

    async def _read_bodies(self, request: Request, slots: Slots) -> bool:
        try:
            content = await request.body()
            if not content or request.headers.get("content-type") != "application/json":
                return False
            given = json.loads(content)
        except Exception:  # noqa: BLE001 - FastAPI receives the same once more, and responds
            return False
        return all(body.read(given, slots) for body in self._bodies)


async def _response(result: Any, request: Request, injected: Response) -> Response:
    if isinstance(result, Response):
        return result
    response = await to_response(result, request, injected)
    if not is_body_allowed_for_status_code(response.status_code):
        response.body = b""
    response.raw_headers.extend(injected.raw_headers)
    return response
