"""The cache of answers: `@cache` serves and fills on GET, and invalidates on every other method.

What is guaranteed: who got the answer to a write reads nothing older afterwards, in any process. How:

- A write announces itself in Redis before it begins: its entries go, and nothing below them is filled until it ends.
  After it, which is after its commit, they go once more, and only then is it answered. A process that dies between
  commit and end leaves the announcement, which expires after 30 seconds, and no old entry.
- A miss takes a lock, which is also the right to store. Every invalidation takes it away, so that a read which overlaps
  a write stores nothing. Others wait for the holder at most two seconds.
- Each entry carries the epoch of its read (`cache_lease`), a number in PostgreSQL. A write that cannot announce itself,
  or cannot end in Redis, moves the epoch before and after its commit and is answered when no process can still believe
  in the former one. So it needs neither Redis nor the writer to survive, and it does not matter which side of a broken
  network others are on. After an outage with such a write the cache begins anew; after any other it goes on.
- A lost answer of Redis may mean a command that is carried out later. All of them are harmless then: an invalidation
  deletes, an announcement binds its own epoch only, and a fill needs its lock and carries the epoch of its read.

Not covered: changes that bypass the endpoints are seen when entries expire. A Redis that returns with the data of an
earlier moment returns with what was invalidated since: run it without snapshots, and with a `volatile-…` eviction
policy, which leaves the index alone.
While the database is away, answers are served from the cache as they are.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial, wraps
from typing import Any

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from redis.asyncio import Redis

from app.core.cache import responses
from app.core.cache.rules import CacheRule, ResourceType, create_rule
from app.core.cache.store import AnswerCache, Entry
from app.core.config import RedisCacheSettings
from app.core.redis import create_pool

Endpoint = Callable[..., Any]
TIMEOUT_SECONDS = 1.0
_RESPONSE = "cache_response"


@asynccontextmanager
async def open_cache(settings: RedisCacheSettings) -> AsyncIterator[Redis]:
    """A client that is closed at the end."""
    # The circuit waits less; this bounds what is not asked through it.
    async with Redis.from_pool(create_pool(settings.REDIS_CACHE_URL, timeout=TIMEOUT_SECONDS)) as client:
        yield client


def cache(
    key_prefix: str,
    resource_id_name: str | None = None,
    expiration: int = 3600,
    resource_id_type: ResourceType = int,
    to_invalidate_extra: Mapping[str, str] | None = None,
    pattern_to_invalidate_extra: list[str] | None = None,
) -> Callable[[Endpoint], Endpoint]:
    """Caches a GET endpoint's answers at `{key_prefix}:{resource_id}` for `expiration` seconds.

    On other methods it invalidates that key, the keys `prefix: id` of `to_invalidate_extra` and everything that matches
    `pattern_to_invalidate_extra`. Templates name the endpoint's parameters: `{username}`, or `{values.username}`.
    """

    def decorate(endpoint: Endpoint) -> Endpoint:
        rule = create_rule(
            endpoint,
            key_prefix,
            resource_id_name,
            expiration,
            resource_id_type,
            to_invalidate_extra or {},
            pattern_to_invalidate_extra or [],
        )

        @wraps(endpoint)
        async def cached(*args: Any, **kwargs: Any) -> Any:
            injected = kwargs[rule.response] if rule.response else kwargs.pop(_RESPONSE, None) or Response()
            values = inspect.signature(endpoint).bind(*args, **kwargs).arguments if args else kwargs
            return await _serve(rule, values[rule.request], injected, values, partial(_call, endpoint, args, kwargs))

        setattr(cached, "cache_rule", rule)  # noqa: B010 - a function has no such attribute for the type checker
        setattr(cached, "__signature__", _with_response(endpoint, rule))  # noqa: B010
        return cached

    return decorate


def _with_response(endpoint: Endpoint, rule: CacheRule) -> inspect.Signature:
    # FastAPI ignores the headers that dependencies set as soon as an endpoint returns a Response: ask for them.
    signature = inspect.signature(endpoint)
    if rule.response:
        return signature
    response = inspect.Parameter(_RESPONSE, inspect.Parameter.KEYWORD_ONLY, annotation=Response)
    return signature.replace(parameters=[*signature.parameters.values(), response])


async def _call(endpoint: Endpoint, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if inspect.iscoroutinefunction(endpoint):
        return await endpoint(*args, **kwargs)
    return await run_in_threadpool(endpoint, *args, **kwargs)


async def _serve(
    rule: CacheRule, request: Request, injected: Response, values: Mapping[str, Any], call: Callable[[], Any]
) -> Any:
    answers: AnswerCache | None = getattr(getattr(request.app.state, "resources", None), "answers", None)
    if answers is None:
        return await call()
    if request.method not in {"GET", "HEAD"}:
        async with answers.write(rule.targets(values)):
            return await call()
    rule.refuse_on_get()
    found = await answers.find(rule.entry_key(values))
    if isinstance(found, Entry):
        return responses.from_entry(found, injected)
    entry = None
    try:
        response = await responses.to_response(await call(), request, injected)
        entry = responses.entry_of(response, injected)
    finally:
        if found and entry:
            await answers.store(found, entry, rule.expiration)
        elif found:
            await answers.give_up(found)
    return responses.mark(response, entry, "miss", injected)
