"""`make check` reports what a new migration would break or lock; a migration waits for a table for a bounded time."""

import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from app.core.config import PostgresSettings
from app.core.db.database import open_database
from app.core.db.migrate import apply_migrations
from dev.lint_migrations import lint, newest_released
from tests.conftest import Services
from tests.support.readme import ROOT
from tests.test_migrations import run_alembic

MIGRATION = '''"""a change

Revision ID: {revision}
Revises: {parent}
"""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{parent}"
{more}

def upgrade() -> None:
    {operation}
'''
DROP = 'op.drop_column("post", "media_url")'


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "src" / "alembic.ini", tmp_path)
    shutil.copytree(ROOT / "src" / "migrations", tmp_path / "migrations")
    return tmp_path / "alembic.ini"


def write(ini: Path, operation: str, more: str = "", revision: str = "aaaa", parent: str | None = None) -> None:
    content = MIGRATION.format(revision=revision, parent=parent or newest_released(), operation=operation, more=more)
    (ini.parent / "migrations" / "versions" / f"{revision}_change.py").write_text(content, encoding="utf-8")


@pytest.mark.parametrize(
    ("operation", "rule"),
    [
        (DROP, "ban-drop-column"),
        ('op.drop_table("post")', "ban-drop-table"),
        ('op.alter_column("post", "text", new_column_name="body")', "renaming-column"),
        ('op.add_column("post", sa.Column("x", sa.Integer(), nullable=False))', "adding-required-field"),
        ('op.create_index("ix", "post", ["title"])', "require-concurrent-index-creation"),
        ('op.create_check_constraint("c", "post", "id > 0")', "constraint-missing-not-valid"),
    ],
)
def test_a_risk_is_reported_with_the_migration(ini: Path, operation: str, rule: str) -> None:
    write(ini, operation)
    report = lint(ini, newest_released())
    assert rule in report
    assert report.startswith("aaaa_change.py:")


@pytest.mark.parametrize(
    "operation",
    [
        'op.create_table("thing", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("name", sa.String(9)))',
        'op.add_column("post", sa.Column("x", sa.Integer()))',
    ],
)
def test_a_change_that_old_code_can_live_with_is_not_reported(ini: Path, operation: str) -> None:
    write(ini, operation)
    assert lint(ini, newest_released()) == ""


def test_an_accepted_risk_is_not_reported_and_others_are(ini: Path) -> None:
    write(ini, DROP, more='ACCEPTED_RISKS = {"ban-drop-column": "nobody reads it"}\n')
    write(ini, 'op.drop_table("post")', revision="bbbb", parent="aaaa")
    report = lint(ini, newest_released())
    assert "ban-drop-column" not in report
    assert report.startswith("bbbb_change.py:")


def test_released_migrations_are_not_reported(ini: Path) -> None:
    write(ini, DROP)
    assert lint(ini, "aaaa") == ""


async def test_a_migration_gives_up_when_a_table_is_in_use(services: Services, empty_database: str) -> None:
    settings = services.settings(POSTGRES_DB=empty_database)
    assert isinstance(settings, PostgresSettings)
    await apply_migrations(settings)
    async with open_database(settings) as database, database.engine.begin() as reader:
        await reader.execute(text("SELECT * FROM row_count"))
        arguments = ("downgrade", "5c1e9d0a7b42")  # drops the table
        status, output = run_alembic(services, empty_database, *arguments, DATABASE_LOCK_TIMEOUT_SECONDS="1")
    assert status
    assert "lock timeout" in output


def test_a_migration_that_joins_two_lines_is_skipped(ini: Path) -> None:
    """After a merge of the template there are two newest migrations, which `alembic merge` joins."""
    write(ini, "pass")
    write(ini, "pass", revision="bbbb")
    joining = MIGRATION.replace('"{parent}"', '("aaaa", "bbbb")').format(
        revision="cccc", parent="", operation="pass", more=""
    )
    (ini.parent / "migrations" / "versions" / "cccc_join.py").write_text(joining, encoding="utf-8")

    assert lint(ini, newest_released()) == ""
