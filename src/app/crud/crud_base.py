"""FastCRUD with what endpoints need: one verb per change, visible rows only, an error where there is no such row."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic

from fastcrud import FastCRUD, PolicyConfig
from fastcrud.types import CreateSchemaType, ModelType, SelectSchemaType, UpdateSchemaType
from pydantic import BaseModel
from sqlalchemy import Executable
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db.database import Database
from app.core.exceptions.data_exceptions import RowNotFoundError
from app.core.outbox import NewTask, require_outbox
from app.crud import targets, writes
from app.crud.helper import ParentRow, visible
from app.crud.new_rows import new_values

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class CRUDBase(
    FastCRUD[ModelType, CreateSchemaType, UpdateSchemaType, UpdateSchemaType, BaseModel, SelectSchemaType],
    Generic[ModelType, CreateSchemaType, UpdateSchemaType, SelectSchemaType],
):
    """Data access for one model: `CRUDBase[Model, CreateInternal, Update, Read](Model)`.

    `add`, `change`, `soft_delete` and `hard_delete` are one statement each. They take the `Database`, which commits it,
    or a session whose transaction they join, and commit unless `commit=False`. The filters are column names with values
    and select one row, ownership included; with a `parent` the row must belong to it, and a change of the parent at the
    same moment comes before or after. If no row matches, `RowNotFoundError` is raised. Events of the ORM do not fire.

    Every method of FastCRUD works as well, with a session. Soft-deleted rows are not visible to any of them, except to
    `hard_delete` and `db_delete`; `with_policy(None)` returns a copy that sees them.
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
        parent: ParentRow | None = None,
        commit: bool = True,
        task: Callable[[Mapping[str, Any]], NewTask] | None = None,
    ) -> SelectSchemaType:
        """Inserts a row and returns it as the schema; a parent's id is set in the column that refers to it.

        `task` makes a task from the new row's values, without those that the database computes. The same statement
        stores it.
        """
        reference = {parent.parent.reference.key: None} if parent else {}
        given = new_values(self.model, {**reference, **values.model_dump()})
        given = {name: value for name, value in given.items() if name not in reference}
        target = self._target({}, parent)
        statement = writes.insertion(target, tuple(given), schema)
        parameters = targets.parameters(given, {}, _of(parent))
        row = await _run(db, statement, parameters, commit, task(given) if task else None)
        if row is None:
            raise RowNotFoundError(parent.parent.name if parent else self.entity)
        return schema.model_validate(row, from_attributes=True)

    async def change(
        self,
        db: Database | AsyncSession,
        values: BaseModel,
        *,
        parent: ParentRow | None = None,
        commit: bool = True,
        **filters: Any,
    ) -> None:
        """Sets the given fields of a visible row; without any it changes nothing, `updated_at` included."""
        given = values.model_dump(exclude_unset=True)
        statement = writes.change(self._target(filters, parent), tuple(given))
        await self._write(db, statement, targets.parameters(given, filters, _of(parent)), parent, commit)

    async def soft_delete(
        self, db: Database | AsyncSession, *, parent: ParentRow | None = None, commit: bool = True, **filters: Any
    ) -> None:
        """Marks a visible row as deleted; the row of a model without `PersistentDeletion` is deleted."""
        statement = writes.soft_deletion(self._target(filters, parent))
        await self._write(db, statement, targets.parameters({}, filters, _of(parent)), parent, commit)

    async def hard_delete(
        self, db: Database | AsyncSession, *, parent: ParentRow | None = None, commit: bool = True, **filters: Any
    ) -> None:
        """Deletes the row, soft-deleted or not."""
        statement = writes.hard_deletion(self._target(filters, parent))
        await self._write(db, statement, targets.parameters({}, filters, _of(parent)), parent, commit)

    async def exists(self, db: Database | AsyncSession, where: Any = None, **filters: Any) -> bool:
        """Whether there is a visible row; with a session all filters of FastCRUD work, with the `Database` columns."""
        if isinstance(db, AsyncSession):
            return await super().exists(db, where=where, **filters)
        statement = writes.lookup(self._target(filters, None))
        return await db.fetch_one(statement, targets.parameters({}, filters, {})) is not None

    async def db_delete(self, db: AsyncSession, *args: Any, **options: Any) -> None:
        """FastCRUD's hard deletion, of soft-deleted rows too."""
        await FastCRUD.db_delete(self.with_policy(None), db, *args, **options)

    def _target(self, filters: dict[str, Any], parent: ParentRow | None) -> targets.Target:
        return targets.Target.of(self.model, filters, parent.parent if parent else None)

    async def _write(
        self,
        db: Database | AsyncSession,
        statement: Executable,
        parameters: dict[str, Any],
        parent: ParentRow | None,
        commit: bool,
    ) -> None:
        if await _run(db, statement, parameters, commit) is not None:
            return
        if parent and await _run(db, parent.parent.query, dict(parent.parameters), commit) is None:
            raise RowNotFoundError(parent.parent.name)
        raise RowNotFoundError(self.entity)


def _of(parent: ParentRow | None) -> Any:
    return parent.parameters if parent else {}


async def _run(
    db: Database | AsyncSession, statement: Any, parameters: dict[str, Any], commit: bool, task: NewTask | None = None
) -> Any:
    """The first row that the statement returns; the task is stored with it."""
    rows: Sequence[Any]
    if task:
        rows = await require_outbox(db).store_with(db, statement, parameters, task)
    elif isinstance(db, Database):
        rows = await db.execute(statement, parameters)
    else:
        rows = (await db.execute(statement, parameters)).fetchmany(1)
    if commit and isinstance(db, AsyncSession):
        await db.commit()
    return rows[0] if rows else None
