"""Lists with a bounded cost: one prepared statement and one round trip per window."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    bindparam,
    func,
    literal,
    literal_column,
    select,
    true,
)
from sqlalchemy.orm import InstrumentedAttribute

from app.core.db.database import Base, Database
from app.core.db.row_count import ALL_ROWS, RowCount
from app.core.db.statements import Parameters, Row
from app.core.exceptions.data_exceptions import RowNotFoundError

MAX_WINDOW_CHARACTERS = 500_000
"""Of large texts in one response: at most 2 MB of UTF-8, which the server keeps for a client that does not read."""
MAX_BOUNDED = 101
"""The longest window that clients get, and one row more that shows whether others follow."""


@dataclass(frozen=True, slots=True)
class OffsetWindow:
    """The rows of one page, counted from 1."""

    page: int
    items_per_page: int

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.items_per_page


@dataclass(frozen=True, slots=True)
class CursorWindow:
    """The next `limit` rows behind the one with the id `after`; None starts at the first."""

    limit: int
    after: int | UUID | None


Window = OffsetWindow | CursorWindow


@dataclass(frozen=True, slots=True)
class Listed:
    """A window's rows; `total_count` only for pages."""

    rows: Sequence[Row]
    has_more: bool
    total_count: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Parent:
    """Whose rows are listed or changed: the query for its id, the column that refers to it, and what it is called."""

    query: Select[Any]
    reference: InstrumentedAttribute[Any]
    name: str


@dataclass(frozen=True, slots=True)
class ParentRow:
    """One parent: the values of its query's parameters."""

    parent: Parent
    parameters: Parameters


def columns(model: type[Base], schema: type[BaseModel]) -> list[ColumnElement[Any]]:
    """The model's columns that the schema has, in the schema's order."""
    return [getattr(model, name) for name in schema.model_fields]


def visible(model: type[Base]) -> ColumnElement[bool]:
    """The condition that excludes soft-deleted rows, if the model has soft deletion."""
    return getattr(model, "is_deleted").is_(False) if hasattr(model, "is_deleted") else true()  # noqa: B009 - optional


class Listing:
    """All visible rows of a model, or of one parent's, in the order of their ids."""

    def __init__(
        self,
        model: type[Base],
        schema: type[BaseModel],
        *,
        parent: Parent | None = None,
        newest_first: bool = False,
        counted: bool = False,
        large_columns: Sequence[str] = (),
    ) -> None:
        """`counted` lists have triggers that keep their totals (`app.core.db.row_count`); others count their rows.

        A window ends early, with `has_more`, where `large_columns` have more than `MAX_WINDOW_CHARACTERS` in its rows.
        """
        self._large_columns = large_columns
        self._parent = parent
        self._counted_as = model.__tablename__ if counted else None
        self._id: InstrumentedAttribute[Any] = getattr(model, "id")  # noqa: B009 - every model has one
        self._newest_first = newest_first
        self._owner = (parent.query if parent else select(literal(1).label("id"))).cte("owner")
        self._condition = visible(model)
        if parent:
            self._condition &= parent.reference == self._owner.c.id
        self._rows = select(*columns(model, schema)).where(self._condition)
        after = bindparam("after", type_=self._id.type)
        behind = self._rows.where(self._id < after if newest_first else self._id > after)
        ordered = self._rows.order_by(self._order)
        self._by_offset = self._with_total(ordered)
        self._first_page = self._with_total(self._bounded(self._rows))
        self._from_start = self._window_statement(self._bounded(self._rows))
        self._from_cursor = self._window_statement(self._bounded(behind))

    async def fetch(self, database: Database, window: Window, parameters: Parameters | None = None) -> Listed:
        """The window's rows.

        Raises `RowNotFoundError` where the parent does not exist.
        """
        if isinstance(window, OffsetWindow):
            return await self._fetch_page(database, window, parameters or {})
        return await self._fetch_from_cursor(database, window, parameters or {})

    async def _fetch_page(self, database: Database, window: OffsetWindow, parameters: Parameters) -> Listed:
        bounds = {"limit": window.items_per_page, "offset": window.offset}
        is_first = window.page == 1 and window.items_per_page <= MAX_BOUNDED
        statement = self._first_page if is_first else self._by_offset
        rows = await self._fetch(database, statement, {**parameters, **bounds})
        total: int = rows[0].total_count
        shown = self._within_budget(self._without_empty(rows))
        return Listed(rows=shown, has_more=window.offset + len(shown) < total, total_count=total)

    async def _fetch_from_cursor(self, database: Database, window: CursorWindow, parameters: Parameters) -> Listed:
        if window.limit >= MAX_BOUNDED:
            raise ValueError(f"a window has fewer than {MAX_BOUNDED} rows")
        bounds = {"limit": window.limit + 1, "offset": 0}
        if window.after is None:
            rows = await self._fetch(database, self._from_start, {**parameters, **bounds})
        else:
            rows = await self._fetch(database, self._from_cursor, {**parameters, **bounds, "after": window.after})
        found = self._without_empty(rows)
        shown = self._within_budget(found[: window.limit])
        return Listed(rows=shown, has_more=len(found) > len(shown))

    async def _fetch(self, database: Database, statement: Select[Any], parameters: Parameters) -> Sequence[Row]:
        rows = await database.fetch_all(statement, parameters)
        if not rows and self._parent:
            raise RowNotFoundError(self._parent.name)
        return rows

    @staticmethod
    def _without_empty(rows: Sequence[Row]) -> Sequence[Row]:
        # For an empty window the outer join returns one row of nulls, which shows that the parent exists.
        return rows if rows and rows[0].id is not None else []

    def _within_budget(self, rows: Sequence[Row]) -> Sequence[Row]:
        if not self._large_columns:
            return rows
        totals = accumulate(sum(len(getattr(row, name) or "") for name in self._large_columns) for row in rows)
        return rows[: max(1, sum(total <= MAX_WINDOW_CHARACTERS for total in totals))]

    @property
    def _order(self) -> ColumnElement[Any]:
        return self._id.desc() if self._newest_first else self._id.asc()

    def _bounded(self, rows: Select[Any]) -> Select[Any]:
        # PostgreSQL estimates an unknown limit as a tenth of the table, and would then plan again for each call.
        bound = literal_column(str(MAX_BOUNDED), Integer)
        first = rows.order_by(self._order).limit(bound).subquery("first")
        return select(*first.c).order_by(first.c.id.desc() if self._newest_first else first.c.id.asc())

    def _with_total(self, rows: Select[Any]) -> Select[Any]:
        total = self._total().lateral()
        return self._window_statement(rows).add_columns(total.c.total_count).join(total, true())

    def _total(self) -> Select[Any]:
        if self._counted_as is None:
            return select(func.count().label("total_count")).where(self._condition).select_from(self._id.table)
        owner = self._owner.c.id if self._parent else ALL_ROWS
        total = func.coalesce(func.sum(RowCount.count), 0).cast(BigInteger)
        return select(total.label("total_count")).where(RowCount.list == self._counted_as, RowCount.owner_id == owner)

    def _window_statement(self, rows: Select[Any]) -> Select[Any]:
        window = rows.limit(bindparam("limit")).offset(bindparam("offset")).lateral("listed")
        outer_order = window.c.id.desc() if self._newest_first else window.c.id.asc()
        return select(*window.c).select_from(self._owner.outerjoin(window, true())).order_by(outer_order)
