"""Which errors of the database mean an outage, which mean congestion, and which are caused by the statement.

asyncpg's errors are raised as SQLAlchemy's, so that a caller catches the same classes whichever way its statement went.
"""

import asyncpg
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, ProgrammingError

READ_ONLY = "25006"
"""The SQLSTATE of a write on a standby, or after a failover on the former primary."""
_OUTAGE_CLASSES = frozenset({"08", "53", "57"})
_STOPPING = frozenset({"57P01", "57P02"})
_QUERY_CANCELED = "57014"
_TEMPORARY = frozenset({_QUERY_CANCELED, "55P03", "25P03"})
"""`statement_timeout`, `lock_timeout` and `idle_in_transaction_session_timeout`."""
_DATA_EXCEPTION = "22"
_TRANSACTION_ROLLBACK = "40"
"""The class of deadlocks and serialisation failures: the same request may succeed later."""


class DatabaseUnavailableError(Exception):
    """The database cannot be reached, or has stopped responding."""


class ConnectionLostError(DatabaseUnavailableError):
    """The connection broke while it was in use; whether the statement was executed is not known."""


class ReadOnlyDatabaseError(DatabaseUnavailableError):
    """The database is a standby, or is set to accept no writes."""


class StaleReplicaError(Exception):
    """The replica lacks something that was acknowledged, or it does not follow the primary."""


class PoolTimeoutError(Exception):
    """No connection became free in time: this process is congested, but the database may be healthy."""


OUTAGES = (
    DatabaseUnavailableError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
)
"""What is raised while the database is unavailable, besides a `DBAPIError` that lost its connection."""


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's five characters (appendix A); empty where the server did not report an error."""
    source = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(source, "sqlstate", None) or "")


def constraint_name(error: IntegrityError) -> str | None:
    """The violated constraint."""
    for source in (error.orig, getattr(error.orig, "__cause__", None)):
        if name := getattr(source, "constraint_name", None):
            return str(name)
    return None


def is_outage(error: BaseException) -> bool:
    """Whether the database is unavailable: not reachable, starting, stopping, out of resources, or read-only."""
    if isinstance(error, OUTAGES):
        return not is_invalid_value(error)
    if not isinstance(error, (DBAPIError, asyncpg.PostgresError)):
        return False
    state = sqlstate(error)
    if state[:2] in _OUTAGE_CLASSES or state == READ_ONLY:
        return state != _QUERY_CANCELED
    return isinstance(error, DBAPIError) and (error.connection_invalidated or isinstance(error.orig, OSError))


def is_temporary(error: BaseException) -> bool:
    """Whether the same request may succeed later: an outage, congestion, a timeout, a lost race, a migration."""
    state = sqlstate(error)
    cause = getattr(getattr(error, "orig", None), "__cause__", None)
    return (
        is_outage(error)
        or isinstance(error, PoolTimeoutError)
        or isinstance(cause, asyncpg.InvalidCachedStatementError)
        or state in _TEMPORARY
        or state.startswith(_TRANSACTION_ROLLBACK)
    )


def is_invalid_value(error: BaseException) -> bool:
    """Whether a value does not fit its column or its type."""
    cause = error if isinstance(error, asyncpg.InterfaceError) else getattr(error, "orig", None)
    causes = (cause, getattr(cause, "__cause__", None))
    return sqlstate(error)[:2] == _DATA_EXCEPTION or any(
        isinstance(each, asyncpg.InterfaceError) and isinstance(each, ValueError) for each in causes
    )


def _is_lost(error: Exception) -> bool:
    if isinstance(error, (OSError, asyncpg.PostgresError)):
        return isinstance(error, (OSError, asyncpg.PostgresConnectionError)) or sqlstate(error) in _STOPPING
    return isinstance(error, OUTAGES) and not is_invalid_value(error)


_KINDS: tuple[tuple[type[Exception], type[DBAPIError]], ...] = (
    (asyncpg.IntegrityConstraintViolationError, IntegrityError),
    (asyncpg.SyntaxOrAccessError, ProgrammingError),
    (asyncpg.DataError, DataError),
    (asyncpg.PostgresError, OperationalError),
)


def translate(error: Exception) -> Exception:
    """The error that SQLAlchemy would raise for this one of asyncpg; its `orig` is asyncpg's."""
    if isinstance(error, TimeoutError):
        return DatabaseUnavailableError("the database did not respond in time")
    if _is_lost(error):
        return ConnectionLostError(f"the connection to the database was lost: {error!r}")
    if is_invalid_value(error):
        return DataError(None, None, error)
    kind = next((kind for cause, kind in _KINDS if isinstance(error, cause)), None)
    return kind(None, None, error) if kind else error
