"""What is wrong with a cached endpoint can only be told once it has its route: its method, and who may call it."""

from collections.abc import Iterator, Sequence

from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from fastapi.security.base import SecurityBase
from starlette.routing import BaseRoute

from app.core.cache.rules import CacheRule
from app.core.exceptions.cache_exceptions import InvalidRequestError


def _asks_who_calls(dependant: Dependant) -> bool:
    call: object = dependant.call
    return isinstance(call, SecurityBase) or any(map(_asks_who_calls, dependant.dependencies))


def _callers(dependant: Dependant) -> Iterator[str | None]:
    """The endpoint's parameters that depend on who calls; None for a dependency without a parameter."""
    return (each.name for each in dependant.dependencies if _asks_who_calls(each))


def _refuse_shared_answer(rule: CacheRule, dependant: Dependant) -> None:
    callers = set(_callers(dependant))
    if callers and not callers & set(rule.key.names()):
        named = ", ".join(sorted(name for name in callers if name)) or "the caller, as a parameter of the endpoint"
        raise InvalidRequestError(
            f"@cache on {rule.endpoint}: the answer depends on who calls, but the key {rule.key.text!r} is the same "
            f"for all. Put the caller into the key, such as '{{user.id}}' (here: {named}), or do not cache it."
        )


def check_cached_routes(routes: Sequence[BaseRoute]) -> None:
    """Raises `InvalidRequestError` for the first endpoint that its route does not allow to be cached as declared."""
    for context in iter_route_contexts(routes):
        rule = getattr(context.endpoint, "cache_rule", None)
        if isinstance(rule, CacheRule) and "GET" in (context.methods or ()):
            rule.refuse_on_get()
            _refuse_shared_answer(rule, context.dependant)
