"""SQLAlchemy writes the SQL, once per statement; asyncpg executes it, without SQLAlchemy's execution around it."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from sqlalchemy import Column, ColumnDefault, Executable
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import ValuesBase
from sqlalchemy.types import TypeEngine

Parameters: TypeAlias = Mapping[str, Any]
Processor: TypeAlias = Callable[[Any], Any]

MAX_STATEMENTS = 1000
"""Compiled statements kept per process. An application has some dozens, because statements are module constants."""
_EXPANDED_LATE = "__[POSTCOMPILE_"


class Row(tuple[Any, ...]):
    """One row: a tuple whose values are attributes too, named as in the statement; `_mapping` as in SQLAlchemy's."""

    __slots__ = ()
    _fields: ClassVar[tuple[str, ...]] = ()

    @property
    def _mapping(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Reader:
    """Makes rows from what asyncpg returns."""

    row_class: type[Row]
    processors: tuple[Processor | None, ...]

    @classmethod
    def of(cls, attributes: Iterable[Any], types: Sequence[TypeEngine[Any]], dialect: Dialect) -> "Reader":
        """From a prepared statement's attributes, and the types that SQLAlchemy declares for them, if it does."""
        names: list[str] = []
        processors: list[Processor | None] = []
        for attribute, kind in zip_longest(attributes, types):
            names.append(attribute.name)
            impl = kind.dialect_impl(dialect) if kind is not None else None
            processors.append(impl.result_processor(dialect, attribute.type.oid) if impl is not None else None)
        getters = {name: property(itemgetter(index)) for index, name in enumerate(names)}
        row_class = type("Row", (Row,), {"__slots__": (), "_fields": tuple(names), **getters})
        return cls(row_class, tuple(processors) if any(processors) else ())

    def read(self, records: Iterable[Iterable[Any]]) -> list[Row]:
        if not self.processors:
            return [*map(self.row_class, records)]
        return [self.row_class(self._processed(record)) for record in records]

    def _processed(self, record: Iterable[Any]) -> Iterator[Any]:
        for value, process in zip(record, self.processors, strict=True):
            yield process(value) if process else value


def _defaults(compiled: SQLCompiler) -> Iterator[tuple[str, Any]]:
    """The columns whose default is Python's, a value or a callable, which the statement does not set."""
    prefetched: list[tuple[Column[Any], Any]] = [
        *((column, column.default) for column in compiled.insert_prefetch),
        *((column, column.onupdate) for column in compiled.update_prefetch),
    ]
    return ((column.key, default) for column, default in prefetched)


def _default_value(default: Any) -> Any:
    if not isinstance(default, ColumnDefault):
        raise InvalidRequestError(f"{default!r} has to be computed by a separate statement: use a session.")
    return default.arg(None) if default.is_callable else default.arg


class Compiled:
    """A statement's SQL with `$1`, `$2`, ... and how to find, and to convert, the values that belong there."""

    def __init__(self, statement: ClauseElement, dialect: Dialect, names: Sequence[str] | None) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=names)
        if not isinstance(compiled, SQLCompiler):
            raise InvalidRequestError(f"{type(statement).__name__} is not a query: use a session.")
        self._compiled = compiled
        self._expanded_late = _EXPANDED_LATE in compiled.string
        self.sql = compiled.string
        self._order = tuple(compiled.positiontup or ())
        self._keys = {name: bind.key for bind, name in compiled.bind_names.items()}
        self._computed = {name: bind for bind, name in compiled.bind_names.items() if bind.callable}
        self._constants = {
            name: bind.value for bind, name in compiled.bind_names.items() if not bind.required and not bind.callable
        }
        self._defaults = dict(_defaults(compiled))
        impls = {name: bind.type.dialect_impl(dialect) for bind, name in compiled.bind_names.items()}
        found = ((name, impl.bind_processor(dialect)) for name, impl in impls.items())
        self._processors: dict[str, Processor] = {name: process for name, process in found if process}
        self._is_plain = not (
            self._expanded_late or self._constants or self._computed or self._defaults or self._processors
        )
        self.types: list[TypeEngine[Any]] = [column.type for column in getattr(statement, "exported_columns", ())]
        self.reader: Reader | None = None

    def bind(self, parameters: Parameters) -> tuple[str, Sequence[Any]]:
        """The SQL and its arguments in order."""
        try:
            if self._is_plain:
                return self.sql, [parameters[name] for name in self._order]
            if self._expanded_late:
                return self._expand(parameters)
            values = self._values(parameters)
            return self.sql, [values[name] for name in self._order]
        except KeyError as error:
            raise InvalidRequestError(f"A value is required for bind parameter {error}") from None

    def _values(self, parameters: Parameters) -> dict[str, Any]:
        values = self._constants | {name: bind.effective_value for name, bind in self._computed.items()}
        values |= {name: _default_value(default) for name, default in self._defaults.items()}
        for name, key in self._keys.items():
            if key in parameters:
                values[name] = parameters[key]
        for name, process in self._processors.items():
            values[name] = process(values[name])
        return values

    def _expand(self, parameters: Parameters) -> tuple[str, Sequence[Any]]:
        # `IN` with a list: each length of it is another SQL.
        state = self._compiled.construct_expanded_state(dict(parameters), escape_names=False)
        processors = self._processors | dict(state.processors)
        values = (
            processors[name](state.parameters[name]) if name in processors else state.parameters[name]
            for name in state.positiontup or ()
        )
        return state.statement, list(values)


class Statements:
    """What is compiled already, by statement; for inserts and updates also by the names of the parameters.

    A statement that is built for each call is compiled each time. Build it once, with `bindparam`.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._compiled: OrderedDict[tuple[Executable, tuple[str, ...]], Compiled] = OrderedDict()

    def __len__(self) -> int:
        return len(self._compiled)

    def compile(self, statement: Executable, parameters: Parameters) -> Compiled:
        names = tuple(parameters) if isinstance(statement, ValuesBase) else ()
        key = (statement, names)
        found = self._compiled.get(key)
        if found is not None:
            self._compiled.move_to_end(key)
            return found
        if not isinstance(statement, ClauseElement):
            raise InvalidRequestError(f"{statement!r} is not a statement of SQLAlchemy Core")
        compiled = self._compiled[key] = Compiled(statement, self._dialect, names or None)
        while len(self._compiled) > MAX_STATEMENTS:
            self._compiled.popitem(last=False)
        return compiled

    def reader(self, compiled: Compiled, attributes: Iterable[Any]) -> Reader:
        """The reader of a statement's rows, from the attributes with which the server describes them."""
        compiled.reader = Reader.of(attributes, compiled.types, self._dialect)
        return compiled.reader
