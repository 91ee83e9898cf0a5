"""One statement per write: what it changes, under which conditions, and what it returns if there was such a row.

The conditions are part of the statement, so there is no moment between a check and its write. Where a row belongs to a
parent (a post to its author), the statement locks the parent for sharing: a change of the parent waits for this write,
or this write waits for the change and then finds its conditions false.

The parent is a subquery of the WHERE clause: as a CTE, which could also tell whether it exists, it would cost
PostgreSQL 15 % more per write. So a write that finds no row is followed by a statement that looks for the parent.
"""

from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from sqlalchemy import (
    ColumnElement,
    Executable,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    true,
    update,
)

from app.core.db.database import Base
from app.crud.helper import Parent, visible
from app.crud.targets import Names, Target, column_of, mapper_of, refuse_ambiguous, table_of

SHAPES = 512
"""Statements kept per verb; an entity has a few for each combination of fields that clients change together."""


def _new(model: type[Base], name: str) -> ColumnElement[Any]:
    return bindparam(f"new_{name}", type_=column_of(model, name).type)


def _where(target: Target) -> ColumnElement[bool]:
    return and_(
        true(),
        *(
            column.is_(None) if name in target.nulls else column == bindparam(f"where_{name}", type_=column.type)
            for name, column in ((name, column_of(target.model, name)) for name in target.names)
        ),
    )


@lru_cache(SHAPES)
def insertion(target: Target, given: Names, schema: type[BaseModel]) -> Executable:
    """Inserts a row and returns the schema's columns; below a parent only where that exists."""
    model, parent = target.model, target.parent
    known = mapper_of(model).columns
    returned = [known[name].label(name) for name in schema.model_fields if name in known]
    if parent is None:
        values = {column_of(model, name): _new(model, name) for name in given}
        return insert(table_of(model)).values(values).returning(*returned)
    owner = _locked(parent).cte("parent")
    source = select(owner.c.id, *(_new(model, name) for name in given)).select_from(owner)
    names = [known[parent.reference.key], *(column_of(model, name) for name in given)]
    return insert(table_of(model)).from_select(names, source).returning(*returned)


@lru_cache(SHAPES)
def change(target: Target, given: Names) -> Executable:
    """Sets columns of a visible row; without any it only looks for the row."""
    condition = and_(_where(target), visible(target.model))
    values: dict[Any, Any] = {column_of(target.model, name): _new(target.model, name) for name in given}
    if given and "updated_at" in mapper_of(target.model).columns and "updated_at" not in given:
        values[column_of(target.model, "updated_at")] = func.now()
    return _select_only(target, condition) if not given else _updating(target, condition, values)


@lru_cache(SHAPES)
def soft_deletion(target: Target) -> Executable:
    """Marks a visible row as deleted; the row of a model that has no such mark is deleted."""
    if "is_deleted" not in mapper_of(target.model).columns:
        return hard_deletion(target)
    values = {column_of(target.model, "is_deleted"): True, column_of(target.model, "deleted_at"): func.now()}
    return _updating(target, and_(_where(target), visible(target.model)), values)


@lru_cache(SHAPES)
def hard_deletion(target: Target) -> Executable:
    """Deletes a row, visible or not."""
    refuse_ambiguous(target)
    return delete(table_of(target.model)).where(_where(target), _belongs(target)).returning(_found(target))


@lru_cache(SHAPES)
def lookup(target: Target) -> Executable:
    """Whether there is a visible row."""
    return select(_found(target)).where(_where(target), visible(target.model)).limit(1)


def _found(target: Target) -> ColumnElement[Any]:
    return mapper_of(target.model).primary_key[0].label("found")


def _locked(parent: Parent) -> Select[Any]:
    return parent.query.with_for_update(read=True)


def _belongs(target: Target, *, locks: bool = True) -> ColumnElement[bool]:
    parent = target.parent
    if parent is None:
        return true()
    query = _locked(parent) if locks else parent.query
    return mapper_of(target.model).columns[parent.reference.key] == query.correlate(None).scalar_subquery()


def _updating(target: Target, condition: ColumnElement[bool], values: dict[Any, Any]) -> Executable:
    refuse_ambiguous(target)
    statement = update(table_of(target.model)).where(condition, _belongs(target))
    return statement.values(values).returning(_found(target))


def _select_only(target: Target, condition: ColumnElement[bool]) -> Executable:
    refuse_ambiguous(target)
    return select(_found(target)).where(condition, _belongs(target, locks=False))
