from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from app.api.dependencies import SUPERUSERS_ONLY, Db, ReadDb
from app.api.owners import TIER
from app.api.paginated import CursorListResponse, PageWindow, PaginatedListResponse, list_response
from app.api.responses import TIER_NOT_FOUND, errors, message, unprocessable
from app.core.schemas import Message, Text
from app.core.utils.cache import cache
from app.crud.crud_tier import crud_tiers
from app.schemas.tier import TierCreate, TierCreateInternal, TierRead, TierUpdate

router = APIRouter(tags=["tiers"])

TierNameInPath = Annotated[Text, Path(alias="name", description="The name of the tier.", examples=["free"])]
TIER_NAME_TAKEN = unprocessable("Tier Name not available", "Another tier has this name.")


@router.post(
    "/tier", status_code=201, summary="Create a tier", responses=errors(TIER_NAME_TAKEN), dependencies=[SUPERUSERS_ONLY]
)
async def write_tier(values: TierCreate, db: Db) -> TierRead:
    """For superusers."""
    return await crud_tiers.add(db, TierCreateInternal(**values.model_dump()), TierRead)


@router.get(
    "/tiers", summary="List tiers", response_model=PaginatedListResponse[TierRead] | CursorListResponse[TierRead]
)
async def read_tiers(request: Request, db: ReadDb, window: PageWindow) -> dict[str, Any]:
    return list_response(request, window, await crud_tiers.read_page(db, window))


@router.get("/tier/{name}", summary="Read a tier", responses=errors(TIER_NOT_FOUND))
async def read_tier(name: TierNameInPath, db: ReadDb) -> TierRead:
    return await crud_tiers.read(db, name)


@router.patch(
    "/tier/{name}",
    summary="Rename a tier",
    responses=message("Tier updated") | errors(TIER_NOT_FOUND, TIER_NAME_TAKEN),
    dependencies=[SUPERUSERS_ONLY],
)
async def patch_tier(name: TierNameInPath, values: TierUpdate, db: Db) -> Message:
    """For superusers."""
    await crud_tiers.change(db, values, name=name)
    return Message(message="Tier updated")


@router.delete(
    "/tier/{name}",
    summary="Delete a tier",
    responses=message("Tier deleted") | errors(TIER_NOT_FOUND),
    dependencies=[SUPERUSERS_ONLY],
)
@cache(changes=[TIER.named("name")])
async def erase_tier(name: TierNameInPath, db: Db) -> Message:
    """For superusers. The tier's rate limits are deleted too; its users have no tier afterwards."""
    await crud_tiers.hard_delete(db, name=name)
    return Message(message="Tier deleted")
