"""FastCRUD with the answers that endpoints need: whether a row was there, and the new row as its schema."""

from typing import Any, Generic

from fastcrud import FastCRUD
from fastcrud.types import (
    CreateSchemaType,
    DeleteSchemaType,
    ModelType,
    SelectSchemaType,
    UpdateSchemaInternalType,
    UpdateSchemaType,
)
from pydantic import BaseModel
from sqlalchemy.exc import NoResultFound
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.exceptions.data_exceptions import RowNotFoundError


class CRUDBase(
    FastCRUD[
        ModelType,
        CreateSchemaType,
        UpdateSchemaType,
        UpdateSchemaInternalType,
        DeleteSchemaType,
        SelectSchemaType,
    ],
    Generic[
        ModelType,
        CreateSchemaType,
        UpdateSchemaType,
        UpdateSchemaInternalType,
        DeleteSchemaType,
        SelectSchemaType,
    ],
):
    """The base of this project's data access; everything of FastCRUD works on it.

    Each method commits. The filters say which row is meant, ownership included; `RowNotFoundError` says there is none.
    """

    entity: str
    """The entity's name as people call it: `Post` in `Post not found`."""

    async def add(self, db: AsyncSession, values: CreateSchemaType, schema: type[SelectSchemaType]) -> SelectSchemaType:
        """Stores a row and returns it as the schema."""
        # Read back before the commit: after it somebody else may already have removed the row.
        row = await self.create(db, values, commit=False, schema_to_select=schema, return_as_model=True)
        await db.commit()
        return row

    async def change(self, db: AsyncSession, values: BaseModel, **filters: Any) -> None:
        """Sets the fields that were given; none given changes nothing, the time of the last change neither."""
        given = values.model_dump(exclude_unset=True)
        try:
            if given:
                await self.update(db, given, **filters)
                return
        except NoResultFound:
            raise RowNotFoundError(self.entity) from None
        if not await self.exists(db, **filters):
            raise RowNotFoundError(self.entity)

    async def hide(self, db: AsyncSession, **filters: Any) -> None:
        """Soft deletion."""
        try:
            await self.delete(db, is_deleted=False, **filters)
        except NoResultFound:
            raise RowNotFoundError(self.entity) from None

    async def remove(self, db: AsyncSession, **filters: Any) -> None:
        """Deletes the row for good, softly deleted or not."""
        try:
            await self.db_delete(db, **filters)
        except NoResultFound:
            raise RowNotFoundError(self.entity) from None
