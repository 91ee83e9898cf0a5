"""Large responses to clients that read slowly, or not at all.

A server keeps what a client has not read yet, for as long as the client likes. NGINX in front of it has a timeout for
that (`send_timeout`); uvicorn has none. So a large body is sent in pieces, and the server takes the next piece when the
client has read most of the earlier ones. A client that reads nothing for `SEND_TIMEOUT_SECONDS` is disconnected.
"""

import asyncio
import logging
from typing import Any

from starlette.types import Message, Receive, Send

logger = logging.getLogger(__name__)

PIECE_BYTES = 64 * 1024
"""As much as uvicorn keeps before it waits for the client."""
SEND_TIMEOUT_SECONDS = 15.0
"""The same as NGINX's in `default.conf`."""


async def send_patiently(receive: Receive, send: Send, message: Message) -> bool:
    """Sends a part of a body, of any size; False if the client was disconnected because it reads nothing."""
    body, is_last = message.get("body", b""), not message.get("more_body")
    try:
        for start in range(0, len(body), PIECE_BYTES) or [0]:
            end = start + PIECE_BYTES
            piece = {**message, "body": body[start:end], "more_body": not is_last or end < len(body)}
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await send(piece)
    except TimeoutError:
        logger.warning("a client has read nothing for %g s, its connection is closed", SEND_TIMEOUT_SECONDS)
        await _disconnect(receive)
        return False
    return True


async def _disconnect(receive: Receive) -> None:
    """Discards what uvicorn keeps for the client: ASGI has no message for it, and closing would wait for the client.

    Another server closes the connection because the response is not complete.
    """
    transport: Any = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass
