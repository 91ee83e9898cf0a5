"""The response to an error that no handler expects; it has the headers of every other response."""

import logging

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

logger = logging.getLogger(__name__)


def log_unexpected_error(scope: Scope, error: Exception) -> None:
    logger.error("%s %s failed", scope["method"], scope["path"], exc_info=error)


async def send_internal_server_error(scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({"detail": "Internal Server Error"}, 500)(scope, receive, send)
