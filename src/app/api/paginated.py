"""Lists by page (`?page=&items_per_page=`) and by cursor (`?limit=&cursor=`)."""

import base64
import hashlib
import hmac
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Depends, Query, Request
from fastcrud import PaginatedListResponse as FastCRUDListResponse
from fastcrud import compute_offset, paginated_response
from pydantic import BaseModel, ConfigDict, Field

from app.api.responses import raises, unprocessable
from app.core.config import CryptSettings
from app.core.exceptions.http_exceptions import UnprocessableEntityException
from app.core.resources import resources_of
from app.core.schemas import MAX_INT32, HasMore, ItemsPerPage, PageNumber, TotalCount
from app.core.utils.cache import provides_only
from app.crud.helper import CursorWindow, Listed, OffsetWindow, Window

__all__ = [
    "CursorListResponse",
    "PageWindow",
    "PaginatedListResponse",
    "compute_offset",
    "list_response",
    "paginated_response",
]

Schema = TypeVar("Schema", bound=BaseModel)
EXAMPLE_CURSOR = "AAAAAAAAAAp2Y5gpcNEr8u2WqvRy0YpA"
INVALID_CURSOR = unprocessable("Invalid cursor", "The cursor is not from a response of this list.")
MIXED_LISTS = unprocessable(
    "Use either page and items_per_page, or limit and cursor", "Parameters of both kinds of list were sent."
)
_SIGNATURE_BYTES = 16
_ID_BYTES = 8


class PaginatedListResponse(FastCRUDListResponse[Schema], Generic[Schema]):
    model_config = ConfigDict(json_schema_extra={"description": "A page of the list."})

    data: Annotated[list[Schema], Field(description="The items of the page.")]
    total_count: TotalCount
    has_more: HasMore
    page: Annotated[PageNumber | None, Field(description="The number of the page, from 1.", examples=[1])] = None
    items_per_page: Annotated[
        ItemsPerPage | None, Field(description="The largest number of items on a page.", examples=[10])
    ] = None


class CursorListResponse(BaseModel, Generic[Schema]):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"description": "With `limit` or `cursor`: a part of the list, at the same cost anywhere."},
    )

    data: Annotated[list[Schema], Field(description="The items of this part.")]
    next_cursor: Annotated[
        str | None,
        Field(description="The `cursor` of the next part; `null` at the end of the list.", examples=[EXAMPLE_CURSOR]),
    ]
    has_more: HasMore


def _signature(request: Request, position: bytes) -> bytes:
    # The path is signed too: a cursor of one list is a forgery in another.
    settings = resources_of(request.app).settings_of(CryptSettings)
    message = b"cursor:" + request.url.path.encode(errors="replace") + b":" + position
    return hmac.digest(settings.SECRET_KEY.encode(), message, hashlib.sha256)[:_SIGNATURE_BYTES]


def _encode_cursor(request: Request, last_id: int | UUID) -> str:
    position = last_id.bytes if isinstance(last_id, UUID) else last_id.to_bytes(_ID_BYTES)
    return base64.urlsafe_b64encode(position + _signature(request, position)).decode()


def _decode_cursor(request: Request, cursor: str) -> int | UUID:
    try:
        raw = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    position, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _signature(request, position)):
        raise UnprocessableEntityException(INVALID_CURSOR.detail)
    return int.from_bytes(position) if len(position) == _ID_BYTES else UUID(bytes=position)


@raises(INVALID_CURSOR, MIXED_LISTS)
@provides_only
async def _page_window(
    request: Request,
    page: Annotated[
        int | None,
        Query(ge=1, le=MAX_INT32, description="The number of the page, from 1. Default: 1.", examples=[1]),
    ] = None,
    items_per_page: Annotated[
        int | None,
        Query(ge=1, le=100, description="The largest number of items on a page. Default: 10.", examples=[10]),
    ] = None,
    limit: Annotated[
        int | None,
        Query(
            ge=1,
            le=100,
            description="Read by cursor instead of by page: the largest number of items. Default: 10.",
            examples=[20],
        ),
    ] = None,
    cursor: Annotated[
        str | None,
        Query(
            max_length=100,
            description="The `next_cursor` of the previous response, for the next items.",
            examples=[EXAMPLE_CURSOR],
        ),
    ] = None,
) -> Window:
    if limit is None and cursor is None:
        return OffsetWindow(page=page or 1, items_per_page=items_per_page or 10)
    if page is not None or items_per_page is not None:
        raise UnprocessableEntityException(MIXED_LISTS.detail)
    return CursorWindow(limit=limit or 10, after=None if cursor is None else _decode_cursor(request, cursor))


PageWindow = Annotated[Window, Depends(_page_window)]


def list_response(request: Request, window: Window, listed: Listed) -> dict[str, Any]:
    """The response's JSON keys for the requested kind of window."""
    if isinstance(window, OffsetWindow):
        return {
            "data": listed.rows,
            "total_count": listed.total_count,
            "has_more": listed.has_more,
            "page": window.page,
            "items_per_page": window.items_per_page,
        }
    next_cursor = _encode_cursor(request, listed.rows[-1].id) if listed.has_more else None
    return {"data": listed.rows, "next_cursor": next_cursor, "has_more": listed.has_more}
