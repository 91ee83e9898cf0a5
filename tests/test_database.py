"""Single statements: the same values, errors and bounds as in a session, whatever the types of an entity."""

import asyncio
import enum
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    DateTime,
    Enum,
    Executable,
    Float,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Text,
    Uuid,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import INET, INT4RANGE, JSONB, Range
from sqlalchemy.exc import DataError, IntegrityError, InvalidRequestError, ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column
from sqlalchemy.types import TypeDecorator

from app.core.db import statements as statements_module
from app.core.db.database import Database, open_database
from app.core.db.errors import PoolTimeoutError, is_outage, is_temporary, sqlstate
from app.core.db.pool import SharedPool
from app.models.tier import Tier
from app.models.user import User
from tests.conftest import Services
from tests.helper import Rows, unique


class Colour(enum.Enum):
    RED = "red value"
    BLUE = "blue value"


class Celsius(TypeDecorator[float]):
    """Stored as tenths of a degree."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: object) -> int | None:
        return None if value is None else round(value * 10)

    def process_result_value(self, value: int | None, dialect: object) -> float | None:
        return None if value is None else value / 10


class OwnBase(DeclarativeBase, MappedAsDataclass):
    metadata = MetaData()


class Sample(OwnBase):
    __tablename__ = "sample_of_types"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    identity: Mapped[UUID]
    identity_text: Mapped[str] = mapped_column(Uuid(as_uuid=False))
    aware: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    naive: Mapped[datetime] = mapped_column(DateTime())
    day: Mapped[date]
    hour: Mapped[time]
    duration: Mapped[timedelta] = mapped_column(Interval)
    price: Mapped[Decimal] = mapped_column(Numeric(12, 4))
    price_float: Mapped[float] = mapped_column(Numeric(12, 4, asdecimal=False))
    ratio: Mapped[float] = mapped_column(Float)
    ratio_decimal: Mapped[Decimal] = mapped_column(Float(asdecimal=True))
    colour: Mapped[Colour] = mapped_column(Enum(Colour, name="colour_native"))
    colour_text: Mapped[Colour] = mapped_column(Enum(Colour, native_enum=False, length=20))
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
    document_binary: Mapped[dict[str, Any]] = mapped_column(JSONB)
    numbers: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))
    words: Mapped[list[str]] = mapped_column(ARRAY(String))
    identities: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    colours: Mapped[list[Colour]] = mapped_column(ARRAY(Enum(Colour, name="colour_native")))
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    address: Mapped[IPv4Address] = mapped_column(INET)
    span: Mapped[Range[int]] = mapped_column(INT4RANGE)
    temperature: Mapped[float] = mapped_column(Celsius)
    renamed: Mapped[str] = mapped_column("a column's name", Text)
    nothing: Mapped[str | None] = mapped_column(Text, default=None)


VALUES = Sample(
    identity=uuid4(),
    identity_text=str(uuid4()),
    aware=datetime(2026, 3, 1, 12, 30, 15, 123456, UTC),
    naive=datetime(2026, 3, 1, 12, 30),  # noqa: DTZ001 - a column without time zone
    day=date(2026, 3, 1),
    hour=time(23, 59, 59),
    duration=timedelta(days=2, seconds=3, microseconds=4),
    price=Decimal("12345.6700"),
    price_float=1.25,
    ratio=0.1,
    ratio_decimal=Decimal("0.5"),
    colour=Colour.RED,
    colour_text=Colour.BLUE,
    document={"a": [1, None, "ü"], "b": {"c": 1.5}},
    document_binary={"a": [1, None, "ü"], "b": {"c": 1.5}},
    numbers=[1, 2, 3],
    words=["a,b", 'quote"', "", "\\"],
    identities=[uuid4(), uuid4()],
    colours=[Colour.BLUE, Colour.RED],
    raw=b"\x00\xff'",
    address=IPv4Address("10.0.0.1"),
    span=Range(1, 5, bounds="[)"),
    temperature=21.5,
    renamed="here",
)
NAMES = [name for name in Sample.__mapper__.columns.keys() if name != "id"]  # noqa: SIM118 - not a dictionary


def given() -> dict[str, Any]:
    return {name: getattr(VALUES, name) for name in NAMES}


@pytest.fixture
async def samples(rows: Rows) -> AsyncIterator[Database]:
    async with rows.database.engine.begin() as connection:
        await connection.run_sync(OwnBase.metadata.create_all)
    try:
        yield rows.database
    finally:
        async with rows.database.engine.begin() as connection:
            await connection.run_sync(OwnBase.metadata.drop_all)


def typed(row: Any) -> list[tuple[type, Any]]:
    return [(type(value), value) for value in row]


class TestTypes:
    async def test_every_type_arrives_as_in_a_session(self, samples: Database) -> None:
        """Written by one statement, read by both ways: the same values of the same Python types."""
        columns = [getattr(Sample, name) for name in NAMES]
        added = await samples.execute(insert(Sample).values(given()).returning(*columns))
        read = await samples.fetch_one(select(*columns))
        async with samples.sessions() as session:
            expected = (await session.execute(select(*columns))).one()

        assert typed(read) == typed(added[0]) == typed(expected)
        assert read is not None
        assert read.colour is Colour.RED
        assert read._mapping["document"] == VALUES.document

    async def test_what_a_session_writes_is_read(self, samples: Database) -> None:
        async with samples.sessions() as session:
            session.add(Sample(**given()))
            await session.commit()
        row = await samples.fetch_one(select(Sample))

        assert row is not None
        assert {name: getattr(row, "a column's name" if name == "renamed" else name) for name in NAMES} == given()

    @pytest.mark.parametrize("name", [name for name in NAMES if name != "document"])  # json cannot be compared
    async def test_every_type_can_be_looked_for(self, samples: Database, name: str) -> None:
        column = getattr(Sample, name)
        await samples.execute(insert(Sample).values(given()))
        value = getattr(VALUES, name)
        condition = column.is_(None) if value is None else column == bindparam("wanted", type_=column.type)
        found = await samples.fetch_all(select(Sample.id).where(condition), {"wanted": value})

        assert len(found) == 1

    async def test_updates_convert_too(self, samples: Database) -> None:
        await samples.execute(insert(Sample).values(given()))
        changed = await samples.execute(
            update(Sample).values(colour=bindparam("new_colour"), temperature=30.5).returning(Sample.colour),
            {"new_colour": Colour.BLUE},
        )
        row = await samples.fetch_one(select(Sample.temperature, Sample.colour))

        assert changed == [(Colour.BLUE,)]
        assert row == (30.5, Colour.BLUE)

    async def test_lists_of_any_length(self, samples: Database) -> None:
        """`IN` with a list in the statement, and with one that comes with each call."""
        await samples.execute(insert(Sample).values(given()))
        fixed = select(func.count()).where(Sample.colour.in_([Colour.RED, Colour.BLUE]))
        bound = select(func.count()).where(Sample.identity.in_(bindparam("wanted", expanding=True)))

        assert (await samples.fetch_one(fixed)) == (1,)
        for length, count in ((0, 0), (1, 1), (50, 1)):
            wanted = [VALUES.identity, *(uuid4() for _ in range(length - 1))] if length else []
            assert (await samples.fetch_one(bound, {"wanted": wanted})) == (count,)

    async def test_plain_text_and_two_columns_of_one_name(self, rows: Rows) -> None:
        row = await rows.database.fetch_one(text("SELECT 1 AS a, :b AS b, 2 AS a").bindparams(b="x"))

        assert row is not None
        assert (tuple(row), row.b) == ((1, "x", 2), "x")


class Defaulted(OwnBase):
    __tablename__ = "sample_of_defaults"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str]
    called: Mapped[str] = mapped_column(insert_default=lambda: "called", init=False)
    fixed: Mapped[int] = mapped_column(insert_default=7, init=False)
    by_server: Mapped[int] = mapped_column(server_default=text("8"), init=False)
    changed: Mapped[str | None] = mapped_column(onupdate=lambda: "changed", default=None)


async def test_defaults_of_columns_apply(samples: Database) -> None:
    columns = (Defaulted.called, Defaulted.fixed, Defaulted.by_server, Defaulted.changed)
    added = await samples.execute(insert(Defaulted).returning(*columns), {"name": "a"})
    updated = await samples.execute(update(Defaulted).returning(*columns), {"name": "b"})

    assert added == [("called", 7, 8, None)]
    assert updated == [("called", 7, 8, "changed")]


class TestErrors:
    async def test_they_are_those_of_a_session(self, rows: Rows) -> None:
        tier = await rows.tier()
        wrong: dict[type[Exception], Executable] = {
            IntegrityError: insert(Tier).values(name=tier.name),
            ProgrammingError: text("SELECT nothing FROM nowhere"),
            DataError: select(literal(1) / literal(0)),
        }
        for kind, statement in wrong.items():
            with pytest.raises(kind) as single:
                await rows.database.execute(statement)
            async with rows.database.sessions() as session:
                with pytest.raises(kind if kind is not DataError else Exception) as in_session:
                    await session.execute(statement)
            assert sqlstate(single.value) == sqlstate(in_session.value) != ""
            assert not is_temporary(single.value)

    async def test_a_value_of_the_wrong_type_is_the_callers_fault(self, rows: Rows) -> None:
        with pytest.raises(DataError) as caught:
            await rows.database.fetch_all(select(User.id).where(User.id == bindparam("id")), {"id": 2**70})
        assert not is_outage(caught.value)

    async def test_a_missing_parameter_is_named(self, rows: Rows) -> None:
        with pytest.raises(InvalidRequestError, match="'name'"):
            await rows.database.fetch_all(select(User.id).where(User.name == bindparam("name")))

    async def test_none_of_them_costs_a_connection(self, rows: Rows) -> None:
        before = pool_of(rows.database).status()
        for _ in range(30):
            with pytest.raises(ProgrammingError):
                await rows.database.execute(text("SELECT nothing FROM nowhere"))
            with pytest.raises(InvalidRequestError):
                await rows.database.fetch_all(select(User.id).where(User.name == bindparam("name")))
        assert pool_of(rows.database).status() == before


def pool_of(database: Database) -> SharedPool:
    pool = database.engine.sync_engine.pool
    assert isinstance(pool, SharedPool)
    return pool


@asynccontextmanager
async def small(services: Services, **changes: object) -> AsyncIterator[Database]:
    async with open_database(
        services.settings(**{"DATABASE_POOL_SIZE": 2, "DATABASE_MAX_OVERFLOW": 1, **changes})
    ) as database:
        yield database


async def connections(database: Database, marker: str) -> int:
    counted = select(func.count()).select_from(text("pg_stat_activity")).where(text("query LIKE :marker"))
    row = await database.fetch_one(counted, {"marker": f"%{marker}%"})
    assert row is not None
    return int(row[0]) - 1


class TestConnections:
    async def test_one_bound_holds_for_sessions_and_statements_together(self, services: Services, rows: Rows) -> None:
        marker = unique("bound")
        seen: list[int] = []
        async with small(services) as database:

            async def single() -> None:
                await database.fetch_all(text(f"SELECT pg_sleep(0.02) /* {marker} */"))

            async def unit() -> None:
                async with database.sessions() as session:
                    await session.execute(text(f"SELECT pg_sleep(0.02) /* {marker} */"))

            async def watch() -> None:
                for _ in range(10):
                    seen.append(await connections(rows.database, marker))
                    await asyncio.sleep(0.01)

            await asyncio.gather(watch(), *(work() for work in (single, unit) for _ in range(15)))
            assert pool_of(database).checkedout() == 0
        assert 2 <= max(seen) <= 3

    async def test_waiting_too_long_is_congestion_and_no_outage(self, services: Services, rows: Rows) -> None:
        async with small(services, DATABASE_POOL_SIZE=1, DATABASE_MAX_OVERFLOW=0) as database:
            pool_of(database)._timeout = 0.1
            async with database.sessions() as session:
                await session.execute(text("SELECT 1"))
                with pytest.raises(PoolTimeoutError) as caught:
                    await database.fetch_all(text("SELECT 1"))
                async with database.sessions() as other:
                    with pytest.raises(PoolTimeoutError):
                        await other.execute(text("SELECT 1"))
            assert (is_temporary(caught.value), is_outage(caught.value)) == (True, False)
            assert await database.fetch_one(text("SELECT 1")) == (1,)

    async def test_cancelled_callers_lose_no_connection(self, services: Services, rows: Rows) -> None:
        """Cancelled while they wait, connect, run, or are handed a connection: in the end all are there again."""
        async with small(services) as database:
            for delay in (0, 0.0005, 0.002, 0.005, 0.02):
                tasks = [asyncio.create_task(database.fetch_all(text("SELECT pg_sleep(0.01)"))) for _ in range(20)]
                await asyncio.sleep(delay)
                for task in tasks[::2]:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                kept = [task for task in tasks[1::2] if task.exception() is None]
                assert len(kept) == 10
            await pool_of(database).wait_closed()
            assert pool_of(database).checkedout() == 0
            assert await asyncio.gather(*(database.fetch_one(text("SELECT 1")) for _ in range(9))) == [(1,)] * 9

    async def test_connections_are_replaced_when_they_are_old(
        self, services: Services, rows: Rows, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with small(services) as database:
            backend = text("SELECT pg_backend_pid()")
            first = await database.fetch_one(backend)
            assert await database.fetch_one(backend) == first
            monkeypatch.setattr(pool_of(database), "_recycle", 0)
            assert await database.fetch_one(backend) != first

    async def test_a_read_survives_a_lost_connection_and_a_write_is_not_repeated(
        self, services: Services, rows: Rows
    ) -> None:
        async with small(services) as database:
            write = text("WITH gone AS (SELECT pg_terminate_backend(pg_backend_pid())) SELECT pg_sleep(1) FROM gone")
            with pytest.raises(Exception, match=r"terminat|lost") as caught:
                await database.execute(write)
            assert is_outage(caught.value)

            backend = await database.fetch_one(text("SELECT pg_backend_pid()"))
            assert backend is not None
            read = asyncio.create_task(database.fetch_one(text("SELECT pg_sleep(0.3), 'read'")))
            await asyncio.sleep(0.1)
            await rows.database.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": backend[0]})
            row = await read
            assert row is not None
            assert row[1] == "read"

    async def test_a_surplus_of_a_peak_is_closed_later(self, services: Services, rows: Rows) -> None:
        async with small(services, DATABASE_POOL_SIZE=1, DATABASE_MAX_OVERFLOW=5) as database:
            await asyncio.gather(*(database.fetch_all(text("SELECT pg_sleep(0.05)")) for _ in range(6)))
            assert pool_of(database).checkedin() == 6
            pool = pool_of(database)
            pool._idle = type(pool._idle)((entry, since - 60) for entry, since in pool._idle)
            for _ in range(6):
                await database.fetch_all(text("SELECT 1"))
            await pool.wait_closed()
            assert pool.checkedin() == 1

    async def test_a_statement_that_runs_too_long_is_cancelled(self, services: Services, rows: Rows) -> None:
        async with small(services, DATABASE_STATEMENT_TIMEOUT_SECONDS=1) as database:
            with pytest.raises(Exception, match="statement timeout") as caught:
                await database.execute(text("SELECT pg_sleep(3)"))
            async with database.sessions() as session:
                with pytest.raises(Exception, match="statement timeout"):
                    await session.execute(text("SELECT pg_sleep(3)"))
        assert (is_temporary(caught.value), is_outage(caught.value)) == (True, False)

    async def test_an_idle_transaction_is_ended(self, services: Services, rows: Rows) -> None:
        """So that a handler that hangs holds neither its connection nor its locks."""
        async with small(services, DATABASE_IDLE_TRANSACTION_TIMEOUT_SECONDS=1) as database:
            async with database.sessions() as session:
                await session.execute(text("SELECT 1"))
                await asyncio.sleep(1.5)
                with pytest.raises(Exception, match=r"idle-in-transaction|connection is closed") as caught:
                    await session.execute(text("SELECT 1"))
            assert await database.fetch_one(text("SELECT 1")) == (1,)
        assert is_temporary(caught.value)

    async def test_a_lock_is_not_waited_for_without_end(self, services: Services, rows: Rows) -> None:
        account = await rows.user()
        async with small(services, DATABASE_LOCK_TIMEOUT_SECONDS=1) as database, database.sessions() as session:
            await session.execute(select(User.id).with_for_update())
            with pytest.raises(Exception, match="lock timeout") as caught:
                await database.execute(delete(User).where(User.id == account.user.id))
        assert (is_temporary(caught.value), is_outage(caught.value)) == (True, False)


async def test_a_migration_under_a_running_process_is_not_noticed(services: Services, samples: Database) -> None:
    """PostgreSQL refuses a prepared statement whose result has another type than before: it is prepared again."""
    await samples.execute(insert(Defaulted), {"name": "a"})
    read, write = select(Defaulted.fixed, Defaulted.name), update(Defaulted).returning(Defaulted.fixed)
    async with small(services, DATABASE_POOL_SIZE=1, DATABASE_MAX_OVERFLOW=0) as database:
        for _ in range(3):
            assert await database.fetch_one(read) == (7, "a")
            assert await database.execute(write, {"name": "a"}) == [(7,)]
        await samples.execute(text("ALTER TABLE sample_of_defaults ALTER fixed TYPE bigint, ALTER name TYPE text"))
        assert await database.fetch_one(read) == (7, "a")
        assert await database.execute(write, {"name": "a"}) == [(7,)]


async def test_statements_built_for_each_call_do_not_pile_up(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements_module, "MAX_STATEMENTS", 50)
    for number in range(120):
        assert await rows.database.fetch_one(select(literal(number))) == (number,)
    assert len(rows.database._statements) <= 50
