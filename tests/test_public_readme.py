"""An entity as the public README's chapter 5 describes it: FastCRUD itself, and sessions of `async_get_db`."""

import asyncio
import os
import sys
from pathlib import Path

from app.core.db.migrate import apply_migrations
from tests.conftest import Services
from tests.support.readme import copy_project

MODEL = """
from datetime import UTC, datetime

from sqlalchemy import DateTime, String
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.database import Base


class Entity(Base):
    __tablename__ = "entity"

    id: Mapped[int] = mapped_column("id", autoincrement=True, nullable=False, unique=True, primary_key=True, init=False)
    name: Mapped[str] = mapped_column(String(30))
    code: Mapped[str] = mapped_column(String(20), unique=True, index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default_factory=lambda: datetime.now(UTC))
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), default=None)
    is_deleted: Mapped[bool] = mapped_column(default=False, index=True)
"""
SCHEMAS = """
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class EntityBase(BaseModel):
    name: Annotated[str, Field(min_length=2, max_length=30, examples=["Entity Name"])]
    code: str


class EntityRead(EntityBase):
    id: int


class EntityCreate(EntityBase):
    pass


class EntityCreateInternal(EntityCreate):
    pass


class EntityUpdate(BaseModel):
    name: str


class EntityUpdateInternal(EntityUpdate):
    pass


class EntityDelete(BaseModel):
    model_config = ConfigDict(extra="forbid")

    is_deleted: bool
    deleted_at: datetime
"""
CRUD = """
from fastcrud import FastCRUD

from app.models.entity import Entity
from app.schemas import entity as schemas

CRUDEntity = FastCRUD[
    Entity,
    schemas.EntityCreateInternal,
    schemas.EntityUpdate,
    schemas.EntityUpdateInternal,
    schemas.EntityDelete,
    schemas.EntityRead,
]
crud_entities = CRUDEntity(Entity)
"""
ROUTES = """
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.dependencies import get_current_superuser
from app.api.paginated import PaginatedListResponse, compute_offset, paginated_response
from app.core.db.database import async_get_db
from app.core.exceptions.http_exceptions import NotFoundException
from app.core.utils.cache import cache
from app.crud.crud_entities import crud_entities
from app.schemas.entity import EntityCreate, EntityCreateInternal, EntityRead, EntityUpdate

router = APIRouter(tags=["entities"])
Db = Annotated[AsyncSession, Depends(async_get_db)]


@router.post("/entities", status_code=201, response_model=EntityRead)
@cache("entities", resource_id_name="values.code", pattern_to_invalidate_extra=["entities:*"])
async def write_entity(request: Request, values: EntityCreate, db: Db):
    new = EntityCreateInternal(**values.model_dump())
    return await crud_entities.create(db=db, object=new, schema_to_select=EntityRead, return_as_model=True)


@router.get("/entities", response_model=PaginatedListResponse[EntityRead])
@cache(key_prefix="entities:page_{page}:items_per_page:{items_per_page}", resource_id_name="page", expiration=60)
async def read_entities(request: Request, db: Db, page: int = 1, items_per_page: int = 10):
    found = await crud_entities.get_multi(
        db=db,
        offset=compute_offset(page, items_per_page),
        limit=items_per_page,
        schema_to_select=EntityRead,
        is_deleted=False,
    )
    return paginated_response(crud_data=found, page=page, items_per_page=items_per_page)


@router.get("/entities/{id}", response_model=EntityRead)
@cache(key_prefix="entity", resource_id_name="id")
async def read_entity(request: Request, id: int, db: Db):
    entity = await crud_entities.get(db=db, id=id, is_deleted=False, schema_to_select=EntityRead)
    if entity is None:
        raise NotFoundException("Entity not found")
    return entity


@router.patch("/entities/{id}", dependencies=[Depends(get_current_superuser)])
@cache("entity", resource_id_name="id", pattern_to_invalidate_extra=["entities:*"])
async def patch_entity(request: Request, id: int, values: EntityUpdate, db: Db):
    await crud_entities.update(db=db, object=values, id=id)
    return {"message": "Entity updated"}


@router.delete("/entities/{id}", dependencies=[Depends(get_current_superuser)])
@cache("entity", resource_id_name="id", pattern_to_invalidate_extra=["entities:*"])
async def erase_entity(request: Request, id: int, db: Db):
    await crud_entities.delete(db=db, id=id)
    return {"message": "Entity deleted"}
"""
REGISTRATION = """
from app.api.v1.entity import router as entity_router

router.include_router(entity_router)
"""
USE = """
import httpx

from tests.helper import API, Rows


async def test_it_works(client: httpx.AsyncClient, rows: Rows) -> None:
    root = await rows.superuser()
    body = {"name": "Entity Name", "code": "first"}
    created = await client.post(f"{API}/entities", json=body)
    repeated = await client.post(f"{API}/entities", json=body)
    assert (created.status_code, created.json()) == (201, body | {"id": 1}), created.text
    assert (repeated.status_code, repeated.json()) == (422, {"detail": "The value is not available"})
    path = f"{API}/entities/1"
    assert [(await client.get(path)).headers["X-Cache"] for _ in range(2)] == ["miss", "hit"]
    listed = (await client.get(f"{API}/entities?page=1&items_per_page=10")).json()
    assert listed == {"data": [created.json()], "total_count": 1, "has_more": False, "page": 1, "items_per_page": 10}
    assert (await client.patch(path, json={"name": "Changed"})).status_code == 401
    changed = await client.patch(path, headers=root.headers, json={"name": "Changed"})
    assert (changed.status_code, changed.json()) == (200, {"message": "Entity updated"})
    assert (await client.get(path)).json()["name"] == "Changed"
    assert (await client.delete(path, headers=root.headers)).status_code == 200
    assert (await client.get(path)).status_code == 404
    assert (await client.get(f"{API}/entities")).json()["total_count"] == 0
"""
FILES = {
    "src/app/models/entity.py": MODEL,
    "src/app/schemas/entity.py": SCHEMAS,
    "src/app/crud/crud_entities.py": CRUD,
    "src/app/api/v1/entity.py": ROUTES,
    "tests/test_entity.py": USE,
}


async def test_its_entity_migrates_and_works(services: Services, empty_database: str, tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    for name, code in FILES.items():
        (project / name).write_text(code)
    with (project / "src/app/api/v1/__init__.py").open("a") as file:
        file.write(REGISTRATION)
    await apply_migrations(services.settings(POSTGRES_DB=empty_database))
    environment = services.environment(POSTGRES_DB=empty_database)
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    steps = (
        ("src", "alembic", "revision", "--autogenerate"),
        ("src", "alembic", "upgrade", "head"),
        ("src", "alembic", "check"),
        (".", "pytest", "-q", "tests/test_entity.py"),
    )

    for folder, *command in steps:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *command,
            cwd=project / folder,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
