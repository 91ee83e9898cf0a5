"""`@cache`, the one decorator for cached and for invalidating endpoints; `app.core.cache` describes its guarantees."""

import inspect
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial, wraps
from typing import Any

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.cache import responses
from app.core.cache.entries import Entry
from app.core.cache.lane import provides_only, remember
from app.core.cache.owners import ChangedOwner, Owner
from app.core.cache.rules import CacheOptions, CacheRule, ResourceType, create_rule
from app.core.cache.store import ResponseCache
from app.core.config import RedisCacheSettings
from app.core.features import read_resources
from app.core.redis import Connection, open_any_connection, open_client
from app.core.serialization import to_response

__all__ = ["ChangedOwner", "Owner", "cache", "open_cache", "open_cache_connection", "provides_only"]

Endpoint = Callable[..., Any]
CLIENT_TIMEOUT_SECONDS = 1.0
TIMEOUT_SECONDS = 0.15
"""How long Redis may be silent before requests go past the cache."""
_REQUEST = "cache_request"
_RESPONSE = "cache_response"


@asynccontextmanager
async def open_cache(settings: RedisCacheSettings) -> AsyncIterator[Redis]:
    """A client of redis-py for your own use of the cache's Redis, closed at the end; for a Cluster a `RedisCluster`."""
    async with open_client(settings.REDIS_CACHE_URL, timeout_seconds=CLIENT_TIMEOUT_SECONDS) as client:
        yield client


@asynccontextmanager
async def open_cache_connection(settings: RedisCacheSettings) -> AsyncIterator[Connection]:
    """The connection that `@cache` uses, closed at the end."""
    async with open_any_connection(
        settings.REDIS_CACHE_URL, name="the cache's Redis", timeout_seconds=TIMEOUT_SECONDS
    ) as connection:
        yield connection


def cache(
    key_prefix: str | None = None,
    resource_id_name: str | None = None,
    expiration: int = 3600,
    resource_id_type: ResourceType = int,
    to_invalidate_extra: Mapping[str, str] | None = None,
    pattern_to_invalidate_extra: list[str] | None = None,
    *,
    owners: Sequence[Owner] = (),
    changes: Sequence[ChangedOwner] = (),
) -> Callable[[Endpoint], Endpoint]:
    """Caches a GET endpoint's responses at `{key_prefix}:{resource_id}` for `expiration` seconds.

    `owners` are what they show or are named after. On other methods it invalidates that key (none without a
    `key_prefix`), the keys `prefix: id` of `to_invalidate_extra`, all that match `pattern_to_invalidate_extra`, and all
    entries of the owners in `changes`. Templates name the endpoint's parameters: `{username}`, or `{values.username}`.
    """
    options = CacheOptions(
        key_prefix=key_prefix,
        resource_id_name=resource_id_name,
        expiration=expiration,
        resource_id_type=resource_id_type,
        extra=to_invalidate_extra or {},
        patterns=pattern_to_invalidate_extra or [],
        owners=owners,
        changes=changes,
    )

    def decorate(endpoint: Endpoint) -> Endpoint:
        rule = create_rule(endpoint, options)
        run = endpoint if inspect.iscoroutinefunction(endpoint) else partial(run_in_threadpool, endpoint)

        @wraps(endpoint)
        async def cached(*args: Any, **kwargs: Any) -> Any:
            request = kwargs.get(rule.request) if rule.request else kwargs.pop(_REQUEST, None)
            response = kwargs.get(rule.response) if rule.response else kwargs.pop(_RESPONSE, None)
            values = inspect.signature(endpoint).bind(*args, **kwargs).arguments if args else kwargs
            call = partial(run, *args, **kwargs)
            if rule.request:
                request = values.get(rule.request)
            # Called by other code instead of a route, there is nothing to respond to.
            return await (_serve(rule, request, response or Response(), values, call) if request else call())

        setattr(cached, "cache_rule", rule)  # noqa: B010 - a function has no such attribute for the type checker
        setattr(cached, "__signature__", _with_request_and_response(endpoint, rule))  # noqa: B010
        return cached

    return decorate


def _with_request_and_response(endpoint: Endpoint, rule: CacheRule) -> inspect.Signature:
    """The endpoint's parameters, and what the cache needs of the request, unless the endpoint takes it anyway.

    The response carries the headers that dependencies set: FastAPI ignores them when an endpoint returns a Response.
    """
    signature = inspect.signature(endpoint)
    needed = [(rule.request, _REQUEST, Request), (rule.response, _RESPONSE, Response)]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind)
        for own, name, kind in needed
        if own is None
    ]
    return signature.replace(parameters=[*signature.parameters.values(), *added])


async def _release_sessions(values: Mapping[str, Any]) -> None:
    # What is not committed by now is rolled back in any case; until then its connection would be held.
    for session in (value for value in values.values() if isinstance(value, AsyncSession)):
        await session.close()


async def _serve(
    rule: CacheRule, request: Request, injected: Response, values: Mapping[str, Any], call: Callable[[], Any]
) -> Any:
    cache: ResponseCache | None = read_resources(request.app).responses
    if cache is None:
        return await call()
    if request.method not in {"GET", "HEAD"}:
        async with cache.write(rule.targets(values), partial(_release_sessions, values)):
            return await call()
    rule.refuse_on_get()
    key = cache.key(rule.entry_key(values))
    found = await cache.find(key)
    if isinstance(found, Entry):
        remember(request, key)
        return responses.hit(found, injected)
    entry, is_stored = None, False
    try:
        result = await call()
        response = await to_response(result, request, injected)
        entry = responses.entry_of(response, injected)
        is_stored = entry is not None and not responses.is_empty_page(result)
    finally:
        if found and entry and is_stored:
            await cache.store(found, entry, rule.expiration)
        elif found:
            await cache.give_up(found)
    if is_stored:
        remember(request, key)
    return responses.miss(response, entry, injected)
