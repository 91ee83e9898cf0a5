"""FastCRUD with what endpoints need: one verb per change, visible rows only, an error where there is no such row."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Generic

from fastcrud import FastCRUD, PolicyConfig
from fastcrud.types import CreateSchemaType, ModelType, SelectSchemaType, UpdateSchemaType
from pydantic import BaseModel
from sqlalchemy.exc import NoResultFound
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db.database import Database
from app.core.exceptions.data_exceptions import RowNotFoundError
from app.crud.helper import visible

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@asynccontextmanager
async def _session(db: Database | AsyncSession) -> AsyncIterator[AsyncSession]:
    if isinstance(db, AsyncSession):
        yield db
        return
    async with db.sessions() as session:
        yield session


class CRUDBase(
    FastCRUD[ModelType, CreateSchemaType, UpdateSchemaType, UpdateSchemaType, BaseModel, SelectSchemaType],
    Generic[ModelType, CreateSchemaType, UpdateSchemaType, SelectSchemaType],
):
    """Data access for one model: `CRUDBase[Model, CreateInternal, Update, Read](Model)`.

    `add`, `change`, `soft_delete` and `hard_delete` take the `Database`, or a session whose transaction they join and
    commit unless `commit=False`. The filters are column names with values and select the row, ownership included; if
    no row matches, `RowNotFoundError` is raised. Every method of FastCRUD works as well. Soft-deleted rows are not
    visible to any of them, except to `hard_delete` and `db_delete`; `with_policy(None)` returns a copy that sees them.
    """

    entity: str = ""
    """The entity's name in error details: `Post` in `Post not found`; by default the model's name in words."""

    def __init__(self, model: type[ModelType], **options: Any) -> None:
        policy = PolicyConfig(read=visible(model), create=True, update=True, delete=True)
        super().__init__(model, **{"policy": policy, **options})
        self.entity = self.entity or _WORD.sub(" ", model.__name__)

    async def add(
        self,
        db: Database | AsyncSession,
        values: CreateSchemaType,
        schema: type[SelectSchemaType],
        *,
        commit: bool = True,
    ) -> SelectSchemaType:
        """Inserts a row and returns it as the schema."""
        async with _session(db) as session:
            # Read back before the commit: after it another request may already have deleted the row.
            row = await self.create(session, values, commit=False, schema_to_select=schema, return_as_model=True)
            if commit:
                await session.commit()
            return row

    async def change(
        self, db: Database | AsyncSession, values: BaseModel, *, commit: bool = True, **filters: Any
    ) -> None:
        """Sets the given fields of a visible row; without any it changes nothing, `updated_at` included."""
        given = values.model_dump(exclude_unset=True)
        async with _session(db) as session:
            try:
                if given:
                    await self.update(session, given, commit=commit, **filters)
                    return
            except NoResultFound:
                raise RowNotFoundError(self.entity) from None
            if not await self.exists(session, **filters):
                raise RowNotFoundError(self.entity)

    async def soft_delete(self, db: Database | AsyncSession, *, commit: bool = True, **filters: Any) -> None:
        """Marks a visible row as deleted; the row of a model without `PersistentDeletion` is deleted."""
        async with _session(db) as session:
            try:
                await self.delete(session, commit=commit, **filters)
            except NoResultFound:
                raise RowNotFoundError(self.entity) from None

    async def hard_delete(self, db: Database | AsyncSession, *, commit: bool = True, **filters: Any) -> None:
        """Deletes the row, soft-deleted or not."""
        async with _session(db) as session:
            try:
                await self.db_delete(session, commit=commit, **filters)
            except NoResultFound:
                raise RowNotFoundError(self.entity) from None

    async def db_delete(self, db: AsyncSession, *args: Any, **options: Any) -> None:
        """FastCRUD's hard deletion, of soft-deleted rows too."""
        await FastCRUD.db_delete(self.with_policy(None), db, *args, **options)
