"""Other values for the unique columns of a table, so that a test can create a second row."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Table, UniqueConstraint

from app.core.db.database import Base

Body = dict[str, Any]


def find_constraint(detail: str) -> tuple[Table, list[str]]:
    """The table and the columns of the unique constraint whose violation gives this detail."""
    for table in Base.metadata.tables.values():
        for constraint in table.constraints:
            if isinstance(constraint, UniqueConstraint) and constraint.info.get("detail") == detail:
                return table, [column.name for column in constraint.columns]
    raise LookupError(f"no unique constraint has the detail {detail!r}")


def with_other_values(body: Body, table: Table, *, same: list[str]) -> Body:
    """The body of another row, which has only the values of the columns `same` in common, as far as they are unique."""
    unique = {
        column.name
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint)
        for column in constraint.columns
    }
    changed = unique.intersection(body).difference(same)
    return body | {name: _other(table.columns[name], body[name]) for name in changed}


def _other(column: Column[Any], value: Any) -> Any:
    kind = column.type.python_type
    if kind is int:
        return value + 1
    if kind is str:
        return f"2{value}"[: getattr(column.type, "length", None)]
    if kind is Decimal:
        return str(Decimal(value) + 1)
    if kind is UUID:
        return str(UUID(int=UUID(value).int ^ 1))
    return value.replace(value[:10], str(date.fromisoformat(value[:10]) + timedelta(days=1)))
