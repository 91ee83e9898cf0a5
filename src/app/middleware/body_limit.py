"""Refuses large requests with 413 in the shape of every other error (FastAPI's own limit sends plain text)."""

from collections.abc import Mapping

from fastapi import HTTPException
from starlette.responses import JSONResponse

STATUS = 413
DETAIL = "Content Too Large"
MAX_DIGITS = 18


class BodyLimit:
    """At most `max_bytes` of a request's body, announced or sent in chunks; no more than that is ever read."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def refusal(self, request: Mapping[bytes, bytes]) -> JSONResponse | None:
        """The response to a request that announces too much."""
        announced = request.get(b"content-length", b"")
        if announced.isdigit() and (len(announced) > MAX_DIGITS or int(announced) > self._max_bytes):
            return JSONResponse({"detail": DETAIL}, STATUS)
        return None

    def check(self, received: int) -> None:
        if received > self._max_bytes:
            raise HTTPException(STATUS, DETAIL)
