"""Refuses large requests in the shape of every other error (FastAPI's own limit sends plain text).

Uvicorn with httptools has no limit on header fields; NGINX in front of it has 32 KiB.
"""

from collections.abc import Mapping
from itertools import chain

from fastapi import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Scope

STATUS = 413
DETAIL = "Content Too Large"
MAX_DIGITS = 18
MAX_HEADER_BYTES = 64 * 1024


class BodyLimit:
    """At most `max_bytes` of a request's body, announced or sent in chunks; no more than that is ever read."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def refusal(self, scope: Scope, request: Mapping[bytes, bytes]) -> JSONResponse | None:
        """The response to a request that announces too much, or has more than `MAX_HEADER_BYTES` in its header."""
        if sum(map(len, chain.from_iterable(scope["headers"]))) > MAX_HEADER_BYTES:
            return JSONResponse({"detail": "Request Header Fields Too Large"}, 431)
        announced = request.get(b"content-length", b"")
        if announced.isdigit() and (len(announced) > MAX_DIGITS or int(announced) > self._max_bytes):
            return JSONResponse({"detail": DETAIL}, STATUS)
        return None

    def check(self, received: int) -> None:
        if received > self._max_bytes:
            raise HTTPException(STATUS, DETAIL)
