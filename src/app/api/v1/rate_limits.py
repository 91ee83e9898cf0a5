from typing import Any

from fastapi import APIRouter, Request

from app.api.dependencies import SUPERUSERS_ONLY, Db, PathId, PathTierName, ReadDb
from app.api.paginated import CursorListResponse, PageWindow, PaginatedListResponse, list_response
from app.api.rate_limiting import warn_of_unknown_path
from app.api.responses import RATE_LIMIT_NOT_FOUND, TIER_NOT_FOUND, errors, message, unprocessable
from app.core.schemas import Message
from app.crud.crud_rate_limit import crud_rate_limits, of_tier
from app.schemas.rate_limit import RateLimitCreate, RateLimitCreateInternal, RateLimitRead, RateLimitUpdate

router = APIRouter(prefix="/tier/{tier_name}", tags=["rate limits"])

NAME_TAKEN = unprocessable("Rate Limit Name not available", "Another rate limit of the tier has this name.")
PATH_TAKEN = unprocessable("The tier has a Rate Limit for this path", "The tier has a rate limit for this path.")


@router.post(
    "/rate_limit",
    status_code=201,
    summary="Create a rate limit",
    responses=errors(TIER_NOT_FOUND, NAME_TAKEN, PATH_TAKEN),
    dependencies=[SUPERUSERS_ONLY],
)
async def write_rate_limit(request: Request, tier_name: PathTierName, values: RateLimitCreate, db: Db) -> RateLimitRead:
    """For superusers. It applies at once, and counts earlier requests."""
    rule = RateLimitCreateInternal(**values.model_dump(exclude_unset=True))
    stored = await crud_rate_limits.add(db, rule, RateLimitRead, parent=of_tier(tier_name))
    warn_of_unknown_path(request, stored.path)
    return stored


@router.get(
    "/rate_limits",
    summary="List a tier's rate limits",
    response_model=PaginatedListResponse[RateLimitRead] | CursorListResponse[RateLimitRead],
    responses=errors(TIER_NOT_FOUND),
)
async def read_rate_limits(request: Request, tier_name: PathTierName, db: ReadDb, window: PageWindow) -> dict[str, Any]:
    return list_response(request, window, await crud_rate_limits.read_page(db, window, tier_name))


@router.get("/rate_limit/{id}", summary="Read a rate limit", responses=errors(TIER_NOT_FOUND, RATE_LIMIT_NOT_FOUND))
async def read_rate_limit(tier_name: PathTierName, id: PathId, db: ReadDb) -> RateLimitRead:
    return await crud_rate_limits.read(db, tier_name, id)


@router.patch(
    "/rate_limit/{id}",
    summary="Change a rate limit",
    responses=message("Rate Limit updated") | errors(TIER_NOT_FOUND, RATE_LIMIT_NOT_FOUND, NAME_TAKEN, PATH_TAKEN),
    dependencies=[SUPERUSERS_ONLY],
)
async def patch_rate_limit(
    request: Request, tier_name: PathTierName, id: PathId, values: RateLimitUpdate, db: Db
) -> Message:
    """For superusers. It applies at once. Fields that are left out keep their values."""
    await crud_rate_limits.change(db, values, parent=of_tier(tier_name), id=id)
    if values.path:
        warn_of_unknown_path(request, values.path)
    return Message(message="Rate Limit updated")


@router.delete(
    "/rate_limit/{id}",
    summary="Delete a rate limit",
    responses=message("Rate Limit deleted") | errors(TIER_NOT_FOUND, RATE_LIMIT_NOT_FOUND),
    dependencies=[SUPERUSERS_ONLY],
)
async def erase_rate_limit(tier_name: PathTierName, id: PathId, db: Db) -> Message:
    """For superusers. The default limit applies to the path afterwards."""
    await crud_rate_limits.hard_delete(db, parent=of_tier(tier_name), id=id)
    return Message(message="Rate Limit deleted")
