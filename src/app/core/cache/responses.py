"""Which responses may be stored, and what the cache adds to a response."""

from collections.abc import Mapping, Sequence

from fastapi import Response
from starlette.types import Send

from app.core.cache.entries import Entry


def is_empty_page(result: object) -> bool:
    """Whether this is a page of a list without items, of which clients can invent any number."""
    page = result if isinstance(result, Mapping) else getattr(result, "__dict__", {})
    items = page.get("data") if "has_more" in page else None
    return isinstance(items, Sequence) and not items


def entry_of(response: Response, injected: Response) -> Entry | None:
    """None if this response is not for everybody: only a whole 200 that sets no cookie may be stored."""
    headers = (response.headers, injected.headers)
    if response.status_code != 200 or any("set-cookie" in each for each in headers):
        return None
    if "no-store" in response.headers.get("cache-control", "") or not isinstance(
        getattr(response, "body", None), bytes
    ):
        return None
    return Entry.of(bytes(response.body), response.headers.get("content-type", "application/json"))


def miss(response: Response, entry: Entry | None, injected: Response) -> Response:
    """The response with what the cache adds, and with the headers that dependencies gave this request."""
    if entry:
        response.headers["ETag"] = entry.etag.decode()
    response.headers["X-Cache"] = "miss"
    response.headers.raw.extend(injected.headers.raw)
    return response


def hit(entry: Entry, injected: Response) -> Response:
    """The stored response; `send_hit` sends the same without one."""
    response = Response(entry.body)
    response.raw_headers = [*entry.headers(b"hit"), *injected.headers.raw]
    return response


async def send_hit(entry: Entry, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": entry.headers(b"hit")})
    await send({"type": "http.response.body", "body": entry.body})
