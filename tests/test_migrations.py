"""The tables are made by the committed migrations, at once by many processes, and match the models."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import pool, text

from app.core.config import Settings
from app.core.db.database import open_database
from app.core.db.engine import create_engine
from app.core.db.migrate import apply_migrations
from tests.conftest import Services
from tests.helper import Rows
from tests.support.forks import run_python
from tests.support.readme import ROOT, copy_project

SRC = ROOT / "src"
STARTERS = 8
START = f"""
import asyncio, os
from app.api import router
from app.core.config import settings
from app.core.setup import create_application
async def main():
    app = create_application(router=router, settings=settings)
    async with app.router.lifespan_context(app):
        pass
def start():
    # Each has its own connection and its own event loop; importing the application once for all is faster.
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(main())
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    return pid
for pid in [start() for _ in range({STARTERS})]:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def run_alembic(
    services: Services, database: str, *arguments: str, folder: Path = SRC, **variables: str
) -> tuple[int, str]:
    """The exit status, and everything printed."""
    environment = services.environment(POSTGRES_DB=database, **variables)
    return run_python("-m", "alembic", *arguments, environment=environment, folder=folder)


def alembic(services: Services, database: str, *arguments: str, folder: Path = SRC) -> str:
    """What `alembic` prints, which must succeed."""
    status, output = run_alembic(services, database, *arguments, folder=folder)
    assert status == 0, output
    return output


def serve(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["sh", "deploy/serve.sh"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


async def tables(settings: Settings) -> set[str]:
    engine = create_engine(settings, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        names = await connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        return set(names)


OURS = {"user", "post", "tier", "rate_limit", "token_blacklist"}


async def test_up_check_and_down_from_src(services: Services, empty_database: str) -> None:
    settings = services.settings(POSTGRES_DB=empty_database)

    alembic(services, empty_database, "upgrade", "head")
    assert await tables(settings) >= OURS
    assert "No new upgrade operations detected" in alembic(services, empty_database, "check")
    alembic(services, empty_database, "downgrade", "base")
    assert await tables(settings) == {"alembic_version"}


async def test_many_processes_start_at_once_on_an_empty_database(services: Services, empty_database: str) -> None:
    environment = services.environment(POSTGRES_DB=empty_database)
    status, output = await asyncio.to_thread(run_python, "-c", START, environment=environment, folder=SRC)

    assert status == 0, output
    assert await tables(services.settings(POSTGRES_DB=empty_database)) >= OURS


async def test_an_upgrade_counts_the_rows_that_exist(services: Services, empty_database: str) -> None:
    settings = services.settings(POSTGRES_DB=empty_database)
    alembic(services, empty_database, "upgrade", "5c1e9d0a7b42")
    async with open_database(settings) as database:
        values = "'n', 'u' || i, 'u' || i, 'h', 'x', false, gen_random_uuid(), i = 3"
        columns = "name, username, email, hashed_password, profile_image_url, is_superuser, uuid, is_deleted"
        users = f'INSERT INTO "user" ({columns}) SELECT {values} FROM generate_series(1, 5) i'  # noqa: S608 - constants
        posts = (
            "INSERT INTO post (created_by_user_id, title, text, uuid, is_deleted) "
            "SELECT i % 2 + 1, 't', 'x', gen_random_uuid(), i > 8 FROM generate_series(1, 9) i"
        )
        for statement in (users, posts):
            await database.execute(text(statement))
        alembic(services, empty_database, "upgrade", "head")
        counts = await database.fetch_all(text("SELECT list, owner_id, count FROM row_count ORDER BY 1, 2"))

    assert counts == [("post", 1, 4), ("post", 2, 4), ("user", 0, 4)]


async def test_applying_again_changes_nothing(services: Services, empty_database: str) -> None:
    settings = services.settings(POSTGRES_DB=empty_database)
    await apply_migrations(settings)
    await apply_migrations(settings)

    assert await tables(settings) >= OURS


async def test_a_container_that_reloads_applies_migrations_only_at_its_start(
    services: Services, empty_database: str, tmp_path: Path
) -> None:
    """The reloading server is told to apply none."""
    uvicorn = tmp_path / "uvicorn"
    uvicorn.write_text('#!/bin/sh\necho "CREATE_TABLES_ON_START=$CREATE_TABLES_ON_START"\n')
    uvicorn.chmod(0o755)
    environment = services.environment(
        POSTGRES_DB=empty_database,
        SERVER="uvicorn",
        PATH=f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin",
        PYTHONPATH=str(SRC),
    )
    result = serve(environment)

    assert (result.returncode, result.stdout) == (0, "CREATE_TABLES_ON_START=false\n"), result.stderr
    assert await tables(services.settings(POSTGRES_DB=empty_database)) >= OURS


async def test_a_new_model_is_found_without_being_listed_anywhere(
    services: Services, empty_database: str, tmp_path: Path
) -> None:
    """A module put into `app/models` is enough for `alembic revision --autogenerate`."""
    src = copy_project(tmp_path) / "src"
    (src / "app" / "models" / "entity.py").write_text(
        "from sqlalchemy.orm import Mapped, mapped_column\n"
        "from app.core.db.database import Base\n"
        "class Entity(Base):\n"
        '    __tablename__ = "entity"\n'
        "    id: Mapped[int] = mapped_column(primary_key=True, init=False)\n"
    )
    alembic(services, empty_database, "upgrade", "head", folder=src)
    alembic(services, empty_database, "revision", "--autogenerate", "-m", "entity", folder=src)

    (new,) = set((src / "migrations" / "versions").glob("*_entity.py"))
    # With ruff on the PATH the file is formatted.
    assert re.search(r"""create_table\(\s*['"]entity['"]""", new.read_text())


async def test_a_unique_primary_key_migrates_once(services: Services, empty_database: str, tmp_path: Path) -> None:
    """`id` as the public README has it: PostgreSQL makes one constraint of two, and autogenerate agrees."""
    src = copy_project(tmp_path) / "src"
    (src / "app" / "models" / "entity.py").write_text(
        "from sqlalchemy import String\n"
        "from sqlalchemy.orm import Mapped, mapped_column\n"
        "from app.core.db.database import Base\n"
        "class Entity(Base):\n"
        '    __tablename__ = "entity"\n'
        '    id: Mapped[int] = mapped_column("id", autoincrement=True, nullable=False, unique=True, primary_key=True,'
        " init=False)\n"
        "    name: Mapped[str] = mapped_column(String(30), unique=True)\n"
    )
    for arguments in (("upgrade", "head"), ("revision", "--autogenerate", "-m", "entity"), ("upgrade", "head")):
        alembic(services, empty_database, *arguments, folder=src)
    alembic(services, empty_database, "check", folder=src)

    (new,) = set((src / "migrations" / "versions").glob("*_entity.py"))
    assert "uq_entity_name" in new.read_text()


async def test_constraints_hold_without_the_api(rows: Rows) -> None:
    statements = {
        "uq_tier_name": "INSERT INTO tier (name) VALUES ('a'), ('a')",
        "fk_user_tier_id_tier": 'UPDATE "user" SET tier_id = 999',
        "fk_post_created_by_user_id_user": "UPDATE post SET created_by_user_id = 999",
        "ck_rate_limit_limit_positive": 'UPDATE rate_limit SET "limit" = 0',
        "ck_rate_limit_period_positive": "UPDATE rate_limit SET period = 0",
        "uq_user_uuid": "UPDATE \"user\" SET uuid = '00000000-0000-0000-0000-000000000000'",
    }
    await rows.post(await rows.user())
    await rows.user()
    await rows.rate_limit(await rows.tier())
    for constraint, statement in statements.items():
        async with rows.database.engine.connect() as connection:
            with pytest.raises(Exception, match=constraint):
                await connection.execute(text(statement))


async def test_a_start_on_the_schema_of_a_later_version_applies_nothing(
    services: Services, empty_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """During a deploy an old process may start again, after a new one has migrated the database."""
    settings = services.settings(POSTGRES_DB=empty_database)
    await apply_migrations(settings)
    async with open_database(settings) as database:
        await database.execute(text("UPDATE alembic_version SET version_num = 'later'"))
        await apply_migrations(settings)
        revision = await database.fetch_one(text("SELECT version_num FROM alembic_version"))

    assert revision == ("later",)
    assert "The database has the migration later of another version" in caplog.text
