"""The values of a new row: the given ones, and what the model adds by itself."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, ColumnDefault
from sqlalchemy.orm import LoaderCallableStatus

from app.core.db.database import Base
from app.crud.targets import Names, Values, mapper_of

SHAPES = 512
"""Combinations of a model and the given names that are kept."""


def new_values(model: type[Base], given: Values) -> dict[str, Any]:
    """The values by column name, with defaults of Python and what the model's validators make of them.

    Columns that the database computes are left out. An instance of the model would cost more than its INSERT, so it is
    made only where nothing else knows the values.
    """
    if _needs_instance(model, tuple(given)):
        known = mapper_of(model).columns
        given = {name: value for name, value in model(**given).__dict__.items() if name in known}
    values: dict[str, Any] = {}
    for column in _columns(model):
        name = column.name
        value = given[name] if name in given else column.factory() if column.factory else None
        if value is None and column.default:
            value = column.default()
        if value is not None or column.holds_null:
            values[name] = value
    return values


@dataclass(frozen=True, slots=True)
class _NewColumn:
    """What makes a column's value where none is given; without `holds_null` the database computes it."""

    name: str
    factory: Callable[[], Any] | None
    default: Callable[[], Any] | None
    holds_null: bool


@lru_cache(SHAPES)
def _columns(model: type[Base]) -> tuple[_NewColumn, ...]:
    factories = {each.name: each.default_factory for each in fields(model) if each.default_factory is not MISSING}
    # SQLAlchemy's own factories stand for a default of the column.
    own = {name: make for name, make in factories.items() if not isinstance(make(), LoaderCallableStatus)}
    return tuple(
        _NewColumn(
            name,
            own.get(name),
            _default_of(column),
            column.default is None and column.server_default is None and not column.primary_key,
        )
        for name, column in mapper_of(model).columns.items()
    )


def _default_of(column: Column[Any]) -> Callable[[], Any] | None:
    default = column.default
    if not isinstance(default, ColumnDefault) or default.is_clause_element:
        return None
    argument = default.arg
    return (lambda: argument(None)) if default.is_callable else (lambda: argument)


@lru_cache(SHAPES)
def _needs_instance(model: type[Base], given: Names) -> bool:
    """Where code of the model has a say, or the names are not those of its columns: then the model raises the error."""
    mapper = mapper_of(model)
    taken = [each for each in fields(model) if each.init]
    needed = {each.name for each in taken if each.default is MISSING and each.default_factory is MISSING}
    names = {each.name for each in taken if each.name in mapper.columns}
    return bool(mapper.validators) or hasattr(model, "__post_init__") or not needed <= set(given) <= names
