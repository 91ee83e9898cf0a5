from fastapi import APIRouter

from app.api.v1 import router as v1_router

router = APIRouter()
# Without a prefix here, FastAPI would build every route once more, only to look for an empty path.
router.include_router(v1_router, prefix="/api")
