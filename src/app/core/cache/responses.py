"""From an endpoint's result to the bytes FastAPI would send, once."""

from typing import Any

from fastapi import Request, Response
from fastapi.datastructures import DefaultPlaceholder
from fastapi.responses import JSONResponse
from fastapi.routing import serialize_response

from app.core.cache.store import Entry


def _route(request: Request) -> Any:
    # An included route answers with the settings of its place in the tree, which FastAPI keeps here.
    included = request.scope.get("fastapi", {}).get("effective_route_context")
    return included or request.scope["route"]


async def to_response(result: object, request: Request, injected: Response) -> Response:
    """The result validated and serialised by the route's response model."""
    if isinstance(result, Response):
        return result
    route = _route(request)
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
    if as_json:
        response = Response(content, status, media_type="application/json")
    else:
        response = (JSONResponse if is_default else route.response_class)(content, status_code=status)
    return response


def entry_of(response: Response, injected: Response) -> Entry | None:
    """None if this answer is not for everybody: only a whole 200 that sets no cookie may be stored."""
    headers = (response.headers, injected.headers)
    if response.status_code != 200 or any("set-cookie" in each for each in headers):
        return None
    if "no-store" in response.headers.get("cache-control", "") or not isinstance(
        getattr(response, "body", None), bytes
    ):
        return None
    return Entry.of(bytes(response.body), response.headers.get("content-type", "application/json"))


def mark(response: Response, entry: Entry | None, outcome: str, injected: Response) -> Response:
    """Adds what the cache says, and the headers that dependencies gave this request."""
    if entry:
        response.headers["ETag"] = entry.etag
    response.headers["X-Cache"] = outcome
    response.headers.raw.extend(injected.headers.raw)
    return response


def from_entry(entry: Entry, injected: Response) -> Response:
    response = Response(entry.body, headers={"content-type": entry.media_type})
    return mark(response, entry, "hit", injected)
