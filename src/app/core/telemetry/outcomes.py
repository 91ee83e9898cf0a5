"""Counts of what the cache, the rate limiter, logins and sessions decide."""

from typing import Any

from opentelemetry.metrics import Counter, Meter

from app.core.cache.entries import Entry
from app.core.cache.store import ResponseCache
from app.core.events import SecurityEvents
from app.core.telemetry.wrapping import replace_method
from app.core.utils.rate_limit import RateLimiter


def observe_cache(cache: ResponseCache, meter: Meter) -> None:
    _observe_lookups(cache, meter)
    fills = meter.create_counter("app.cache.fills", "{response}", "Responses that were stored.")

    def observed(store: Any) -> Any:
        async def run(*arguments: Any) -> bool:
            is_stored: bool = await store(*arguments)
            if is_stored:
                fills.add(1)
            return is_stored

        return run

    replace_method(cache, "store", observed)


def _observe_lookups(cache: ResponseCache, meter: Meter) -> None:
    requests = meter.create_counter("app.cache.requests", "{request}", "Requests of cached endpoints.")

    def observed_peek(peek: Any) -> Any:
        # Without an entry the request goes the full way, where `find` counts it.
        async def run(key: Any) -> Any:
            entry = await peek(key)
            if entry is not None:
                requests.add(1, {"outcome": "hit"})
            return entry

        return run

    def observed_find(find: Any) -> Any:
        async def run(key: Any) -> Any:
            found = await find(key)
            outcome = "hit" if isinstance(found, Entry) else "bypass" if found is None else "miss"
            requests.add(1, {"outcome": outcome})
            return found

        return run

    replace_method(cache, "peek", observed_peek)
    replace_method(cache, "find", observed_find)


def observe_limiter(limiter: RateLimiter, meter: Meter) -> None:
    requests = meter.create_counter("app.rate_limit.requests", "{request}", "Requests of limited routes.")

    def observed(admit: Any) -> Any:
        async def run(*arguments: Any, **options: Any) -> Any:
            outcome = "failed"
            try:
                admission = await admit(*arguments, **options)
                if admission is not None:
                    outcome = "admitted" if admission.admitted else "refused"
                return admission
            finally:
                requests.add(1, {"outcome": outcome})

        return run

    replace_method(limiter, "admit", observed)


def observe_events(events: SecurityEvents, meter: Meter) -> None:
    logins = meter.create_counter("app.logins", "{login}", "Passwords that were compared or locked out.")
    revoked = meter.create_counter("app.sessions.revoked", "{event}", "Sessions that were ended before their time.")

    def counted(counter: Counter, attribute: str) -> Any:
        return lambda _: lambda value: counter.add(1, {attribute: value})

    replace_method(events, "login", counted(logins, "outcome"))
    replace_method(events, "session_revoked", counted(revoked, "reason"))
