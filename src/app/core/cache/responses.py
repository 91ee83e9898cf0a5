"""From an endpoint's result to the bytes FastAPI would send, once."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.datastructures import DefaultPlaceholder
from fastapi.responses import JSONResponse
from fastapi.routing import serialize_response
from fastapi.utils import is_body_allowed_for_status_code
from starlette.types import Send

from app.core.cache.entries import Entry


class JSONBytes(Response):
    """JSON that is serialised already; it has the header fields that Starlette gives it, without looking for others."""

    media_type = "application/json"

    def __init__(self, content: bytes, status_code: int) -> None:
        self.status_code = status_code
        self.background = None
        self.body = content
        self.raw_headers = [(b"content-length", b"%d" % len(content)), (b"content-type", b"application/json")]


async def to_response(result: object, request: Request, injected: Response) -> Response:
    """The result validated and serialised by the route's response model."""
    if isinstance(result, Response):
        return result
    route: Any = request.scope["route"]
    is_default = isinstance(route.response_class, DefaultPlaceholder)
    as_json = route.response_field is not None and is_default
    content = await serialize_response(
        field=route.response_field,
        response_content=result,
        include=route.response_model_include,
        exclude=route.response_model_exclude,
        by_alias=route.response_model_by_alias,
        exclude_unset=route.response_model_exclude_unset,
        exclude_defaults=route.response_model_exclude_defaults,
        exclude_none=route.response_model_exclude_none,
        dump_json=as_json,
    )
    status = injected.status_code or route.status_code or 200
    if not as_json:
        response: Response = (JSONResponse if is_default else route.response_class)(content, status_code=status)
    elif is_body_allowed_for_status_code(status):
        response = JSONBytes(content, status)
    else:
        response = Response(content, status, media_type="application/json")
    return response


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
