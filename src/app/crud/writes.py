"""One statement per write: what it changes, under which conditions, and what it returns if there was such a row.

The conditions are part of the statement, so there is no moment between a check and its write. Where a row belongs to a
parent (a post to its author), the statement locks the parent for sharing: a change of the parent waits for this write,
or this write waits for the change and then finds its conditions false.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from sqlalchemy import (
    CTE,
    Column,
    ColumnDefault,
    ColumnElement,
    Executable,
    Table,
    UniqueConstraint,
    and_,
    bindparam,
    delete,
    func,
    insert,
    inspect,
    select,
    true,
    update,
)
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.dml import ReturningDelete, ReturningUpdate

from app.core.db.database import Base
from app.crud.helper import Parent, visible

Names = tuple[str, ...]
Values = Mapping[str, Any]

SHAPES = 512
"""Statements kept per verb; an entity has a few for each combination of fields that clients change together."""


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


def _mapper(model: type[Base]) -> Mapper[Any]:
    return inspect(model)


def _table(model: type[Base]) -> Table:
    table = _mapper(model).local_table
    if not isinstance(table, Table):
        raise TypeError(f"{model.__name__} is not mapped to a table")
    return table


def _column(model: type[Base], name: str) -> Column[Any]:
    mapper = _mapper(model)
    if name not in mapper.columns:
        raise ValueError(f"{model.__name__} has no column {name!r}; it has {', '.join(mapper.columns.keys())}")
    return mapper.columns[name]


def _new(model: type[Base], name: str) -> ColumnElement[Any]:
    return bindparam(f"new_{name}", type_=_column(model, name).type)


def _where(target: Target) -> ColumnElement[bool]:
    return and_(
        *(
            column.is_(None) if name in target.nulls else column == bindparam(f"where_{name}", type_=column.type)
            for name, column in ((name, _column(target.model, name)) for name in target.names)
        )
    )


def _refuse_ambiguous(target: Target) -> None:
    """Raises `ValueError` if the filters could match several rows: a write means one."""
    mapper = _mapper(target.model)
    given: set[ColumnElement[Any]] = {_column(target.model, name) for name in target.names if name not in target.nulls}
    if target.parent:
        given.add(_mapper(target.model).columns[target.parent.reference.key])
    table = _table(target.model)
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


def stored_values(instance: Base) -> dict[str, Any]:
    """A new instance's values by column name, defaults of Python included; the database computes the others."""
    values: dict[str, Any] = {}
    for name, column in _mapper(type(instance)).columns.items():
        value = instance.__dict__.get(name)
        default = column.default
        if value is None and isinstance(default, ColumnDefault) and not default.is_clause_element:
            value = default.arg(None) if default.is_callable else default.arg
        is_computed = default is not None or column.server_default is not None or column.primary_key
        if value is not None or not is_computed:
            values[name] = value
    return values


@lru_cache(SHAPES)
def insertion(target: Target, given: Names, schema: type[BaseModel]) -> Executable:
    """Inserts a row and returns the schema's columns; below a parent only where that exists."""
    model, parent = target.model, target.parent
    known = _mapper(model).columns
    returned = [known[name].label(name) for name in schema.model_fields if name in known]
    if parent is None:
        values = {_column(model, name): _new(model, name) for name in given}
        return insert(_table(model)).values(values).returning(*returned)
    owner = _locked(parent)
    source = select(owner.c.id, *(_new(model, name) for name in given)).select_from(owner)
    names = [known[parent.reference.key], *(_column(model, name) for name in given)]
    return insert(_table(model)).from_select(names, source).returning(*returned)


@lru_cache(SHAPES)
def change(target: Target, given: Names) -> Executable:
    """Sets columns of a visible row; without any it only looks for the row."""
    condition = and_(_where(target), visible(target.model))
    values: dict[Any, Any] = {_column(target.model, name): _new(target.model, name) for name in given}
    if given and "updated_at" in _mapper(target.model).columns and "updated_at" not in given:
        values[_column(target.model, "updated_at")] = func.now()
    return _select_only(target, condition) if not given else _updating(target, condition, values)


@lru_cache(SHAPES)
def soft_deletion(target: Target) -> Executable:
    """Marks a visible row as deleted; the row of a model that has no such mark is deleted."""
    if "is_deleted" not in _mapper(target.model).columns:
        return hard_deletion(target)
    values = {_column(target.model, "is_deleted"): True, _column(target.model, "deleted_at"): func.now()}
    return _updating(target, and_(_where(target), visible(target.model)), values)


@lru_cache(SHAPES)
def hard_deletion(target: Target) -> Executable:
    """Deletes a row, visible or not."""
    _refuse_ambiguous(target)
    owner = _locked(target.parent) if target.parent else None
    statement = delete(_table(target.model)).where(_where(target), _belongs(target, owner))
    return _result(target, owner, statement.returning(_found(target)))


@lru_cache(SHAPES)
def lookup(target: Target) -> Executable:
    """Whether there is a visible row."""
    return select(_found(target)).where(_where(target), visible(target.model)).limit(1)


def _found(target: Target) -> ColumnElement[Any]:
    return _mapper(target.model).primary_key[0].label("found")


def _locked(parent: Parent) -> CTE:
    return parent.query.with_for_update(read=True).cte("parent")


def _belongs(target: Target, owner: CTE | None) -> ColumnElement[bool]:
    if target.parent is None or owner is None:
        return true()
    return _mapper(target.model).columns[target.parent.reference.key] == owner.c.id


def _updating(target: Target, condition: ColumnElement[bool], values: dict[Any, Any]) -> Executable:
    _refuse_ambiguous(target)
    owner = _locked(target.parent) if target.parent else None
    statement = update(_table(target.model)).where(condition, _belongs(target, owner))
    return _result(target, owner, statement.values(values).returning(_found(target)))


def _result(target: Target, owner: CTE | None, write: "ReturningUpdate[Any] | ReturningDelete[Any]") -> Executable:
    """One row with `found`; below a parent `found` is null where the parent exists but the row does not."""
    if owner is None:
        return write
    written = write.cte("written")
    return select(written.c.found).select_from(owner.outerjoin(written, true()))


def _select_only(target: Target, condition: ColumnElement[bool]) -> Executable:
    _refuse_ambiguous(target)
    if target.parent is None:
        return select(_found(target)).where(condition)
    owner = target.parent.query.cte("parent")
    table = _table(target.model)
    return select(_found(target)).select_from(owner.outerjoin(table, and_(condition, _belongs(target, owner))))
