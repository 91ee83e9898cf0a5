"""One entry of the request log per request, whatever becomes of it."""

from asyncio import CancelledError
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

from app.core.request_log.collector import RequestLog
from app.middleware.trusted_proxies import server_connection

if TYPE_CHECKING:
    from app.middleware.exchange import Exchange

CALLER_KEY = "app.caller"
"""The key in the request's scope for the logged-in caller, whose `user` has an `id`."""


async def run_logged(exchange: "Exchange", log: RequestLog) -> None:
    """Runs the exchange, then adds its entry."""
    began, has_left = perf_counter(), False
    try:
        await exchange.run()
    except CancelledError:
        has_left = True
        raise
    finally:
        scope = exchange.scope
        caller: Any = scope.get(CALLER_KEY)
        log.add(
            (
                time(),
                perf_counter() - began,
                exchange.method,
                scope.get("route"),
                exchange.status,
                exchange.sent_bytes,
                caller.user.id if caller else None,
                exchange.name,
                log.trace_id(),
                # Uvicorn notices that a client left, but does not cancel the request; other servers do.
                has_left or getattr(server_connection(scope, exchange.server_receive), "disconnected", False),
            )
        )
