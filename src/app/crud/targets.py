"""The row that a write selects, and its values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, UniqueConstraint, inspect
from sqlalchemy.orm import Mapper

from app.core.db.database import Base
from app.crud.helper import Parent

Names = tuple[str, ...]
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """The row that a write means: a model's, by column names (`nulls`: those that are null), below a parent."""

    model: type[Base]
    names: Names
    nulls: Names
    parent: Parent | None

    @classmethod
    def of(cls, model: type[Base], filters: Values, parent: Parent | None) -> "Target":
        nulls = tuple(name for name, value in filters.items() if value is None)
        return cls(model, tuple(filters), nulls, parent)


def mapper_of(model: type[Base]) -> Mapper[Any]:
    return inspect(model)


def table_of(model: type[Base]) -> Table:
    table = mapper_of(model).local_table
    if not isinstance(table, Table):
        raise TypeError(f"{model.__name__} is not mapped to a table")
    return table


def column_of(model: type[Base], name: str) -> Column[Any]:
    mapper = mapper_of(model)
    if name not in mapper.columns:
        raise ValueError(f"{model.__name__} has no column {name!r}; it has {', '.join(mapper.columns.keys())}")
    return mapper.columns[name]


def refuse_ambiguous(target: Target) -> None:
    """Raises `ValueError` if the filters could match several rows: a write means one."""
    mapper = mapper_of(target.model)
    given: set[ColumnElement[Any]] = {
        column_of(target.model, name) for name in target.names if name not in target.nulls
    }
    if target.parent:
        given.add(mapper.columns[target.parent.reference.key])
    table = table_of(target.model)
    keys: list[Sequence[ColumnElement[Any]]] = [mapper.primary_key]
    keys += [list(each.columns) for each in table.constraints if isinstance(each, UniqueConstraint)]
    keys += [list(each.columns) for each in table.indexes if each.unique]
    if not any(given.issuperset(key) for key in keys):
        named = ", ".join(target.names) or "nothing"
        raise ValueError(f"{named} may mean several rows of {target.model.__name__}: add its key, or use FastCRUD")


def parameters(given: Values, filters: Values, of_parent: Values) -> dict[str, Any]:
    """The statement's parameters: what is set, what selects the row, and what selects its parent."""
    return {
        **of_parent,
        **{f"new_{name}": value for name, value in given.items()},
        **{f"where_{name}": value for name, value in filters.items() if value is not None},
    }
