"""From an endpoint's result to the bytes FastAPI would send, once."""

from typing import Any

from fastapi import Request, Response
from fastapi.datastructures import DefaultPlaceholder
from fastapi.responses import JSONResponse
from fastapi.routing import serialize_response
from fastapi.utils import is_body_allowed_for_status_code


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
