from typing import Any

from fastapi import APIRouter, Request

from app.api.dependencies import Db, PathId, PathTier, PathTierName, Superuser
from app.api.paginated import CursorListResponse, PageWindow, PaginatedListResponse, list_response
from app.api.rate_limiting import warn_of_unknown_path
from app.api.responses import errors
from app.core.schemas import Message
from app.crud.crud_rate_limit import crud_rate_limits
from app.schemas.rate_limit import RateLimitCreate, RateLimitCreateInternal, RateLimitRead, RateLimitUpdate

router = APIRouter(prefix="/tier/{tier_name}", tags=["rate limits"])


@router.post("/rate_limit", status_code=201, responses=errors(401, 403, 404))
async def write_rate_limit(
    request: Request, superuser: Superuser, tier: PathTier, values: RateLimitCreate, db: Db
) -> RateLimitRead:
    rule = RateLimitCreateInternal(**values.model_dump(exclude_unset=True), tier_id=tier.id)
    stored = await crud_rate_limits.add(db, rule, RateLimitRead)
    warn_of_unknown_path(request, stored.path)
    return stored


@router.get(
    "/rate_limits",
    response_model=PaginatedListResponse[RateLimitRead] | CursorListResponse[RateLimitRead],
    responses=errors(404),
)
async def read_rate_limits(request: Request, tier_name: PathTierName, db: Db, window: PageWindow) -> dict[str, Any]:
    return list_response(request, window, await crud_rate_limits.read_page(db, window, tier_name))


@router.get("/rate_limit/{id}", responses=errors(404))
async def read_rate_limit(tier_name: PathTierName, id: PathId, db: Db) -> RateLimitRead:
    return await crud_rate_limits.read(db, tier_name, id)


@router.patch("/rate_limit/{id}", responses=errors(401, 403, 404))
async def patch_rate_limit(
    request: Request, superuser: Superuser, tier: PathTier, id: PathId, values: RateLimitUpdate, db: Db
) -> Message:
    await crud_rate_limits.change(db, values, id=id, tier_id=tier.id)
    if values.path:
        warn_of_unknown_path(request, values.path)
    return Message(message="Rate Limit updated")


@router.delete("/rate_limit/{id}", responses=errors(401, 403, 404))
async def erase_rate_limit(superuser: Superuser, tier: PathTier, id: PathId, db: Db) -> Message:
    await crud_rate_limits.hard_delete(db, id=id, tier_id=tier.id)
    return Message(message="Rate Limit deleted")
