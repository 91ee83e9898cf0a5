"""The checks of a cached endpoint that need its route: its method, and the dependencies that name the caller."""

from collections.abc import Iterator, Sequence

from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from fastapi.security.base import SecurityBase
from starlette.routing import BaseRoute

from app.core.cache.rules import CacheRule
from app.core.exceptions.cache_exceptions import InvalidRequestError


def _depends_on_caller(dependant: Dependant) -> bool:
    call: object = dependant.call
    return isinstance(call, SecurityBase) or any(map(_depends_on_caller, dependant.dependencies))


def _caller_parameters(dependant: Dependant) -> Iterator[str | None]:
    """The endpoint's parameters that depend on the caller; None for a dependency without a parameter."""
    return (each.name for each in dependant.dependencies if _depends_on_caller(each))


def _refuse_shared_response(rule: CacheRule, dependant: Dependant) -> None:
    callers = set(_caller_parameters(dependant))
    if rule.key and callers and not callers & rule.key.parameters:
        named = ", ".join(sorted(name for name in callers if name)) or "the caller, as a parameter of the endpoint"
        raise InvalidRequestError(
            f"@cache on {rule.endpoint}: the response depends on the caller, but the key {rule.key.text!r} is the same "
            f"for all. Put the caller into the key, such as '{{user.id}}' (here: {named}), or do not cache it."
        )


def check_cached_routes(routes: Sequence[BaseRoute]) -> None:
    """Raises `InvalidRequestError` for the first endpoint that its route does not allow to be cached as declared."""
    for context in iter_route_contexts(routes):
        rule = getattr(context.endpoint, "cache_rule", None)
        if not isinstance(rule, CacheRule):
            continue
        if "GET" in (context.methods or ()):
            rule.refuse_on_get()
            _refuse_shared_response(rule, context.dependant)
        else:
            rule.refuse_on_write()
