"""Runs the commands and the code that the README shows."""

import ast
import asyncio
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastcrud import FastCRUD
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db.migrate import apply_migrations
from app.core.settings.base import SettingsBase
from app.core.setup import create_application
from app.crud.crud_users import crud_users
from app.models.user import User
from app.schemas import user as schemas
from tests.conftest import Services
from tests.helper import API, Rows, running
from tests.support.isolation import PREFIX_FOR_TESTS
from tests.support.readme import README, ROOT, blocks, chapter, copy_project

PYTHON = shlex.quote(sys.executable)
FILE_NAME = re.compile(r"^# ((?:src|tests)/\S+)\n")
OUTSIDE_OF_BLOCKS = re.sub(r"(?ms)^```.*?^```$", "", README.read_text(encoding="utf-8"))


async def shell(script: str, folder: Path, environment: dict[str, str]) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-euo",
        "pipefail",
        "-c",
        script,
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode, (output + errors).decode()


@pytest.fixture
async def worker(services: Services) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "arq",
        "src.app.core.worker.settings.WorkerSettings",
        cwd=ROOT,
        env=services.environment(),
        stderr=subprocess.DEVNULL,
    )
    yield
    process.terminate()
    await process.wait()


async def test_the_first_steps(server: str, worker: None, services: Services, rows: Rows, tmp_path: Path) -> None:
    """Register, log in, write, list, delete, tier, rule, task, renew, log out: each line returns what it should."""
    root = await rows.superuser()
    script = "\necho\n".join(blocks("4.5 First steps", "sh"))
    here = script.replace("http://127.0.0.1:8000/api/v1", f"{server}{API}")
    assert here != script
    spaced = re.sub(r"(?m)^curl .*$", lambda line: f"{line[0]}; echo", here)
    environment = {"ADMIN_USERNAME": root.username, "ADMIN_PASSWORD": "correct horse battery staple"}
    status, output = await shell(spaced, tmp_path, environment)

    assert status == 0, output
    responses = [json.loads(line) for line in output.splitlines() if line.strip()]
    assert responses[-1] == {"detail": "User not authenticated."}
    assert responses[-2] == {"message": "Logged out successfully"}
    task = responses[-3]
    assert (task["status"], task["result"]) == ("complete", "Task hello is complete!")
    assert not [response for response in responses[:-1] if "detail" in response], output
    assert len(responses) == len(re.findall(r"(?m)^curl ", script))


@pytest.fixture
async def db(rows: Rows) -> AsyncIterator[AsyncSession]:
    await rows.user("userson")
    await rows.user("myusername")
    async with rows.database.sessions() as session:
        yield session


CRUD_CHAPTERS = re.findall(r"^#### (5\.6\.\d+ .+|More Efficient Selecting)$", OUTSIDE_OF_BLOCKS, re.MULTILINE)


@pytest.mark.parametrize("title", CRUD_CHAPTERS)
async def test_the_data_access(db: AsyncSession, title: str) -> None:
    for block in blocks(title, "python"):
        code = compile(block, title, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        names: dict[str, Any] = {"db": db, "crud_users": crud_users}
        result = eval(code, names)  # noqa: S307 - the README's own code
        if inspect.isawaitable(result):
            await result
        await db.rollback()


def _write(project: Path, block: str) -> None:
    """Puts a block into the file that its first line names; of a file that exists, an import where it is sorted."""
    name = FILE_NAME.match(block)
    assert name, f"no file is named: {block[:80]}"
    path, code = project / name[1], block[name.end() :]
    if not path.exists():
        path.write_text(code)
        return
    lines = path.read_text().splitlines()
    imported, added = filter(None, code.splitlines())
    following = min(line for line in lines if line.startswith("from app.api.v1.") and line > imported)
    lines.insert(lines.index(following), imported)
    path.write_text("\n".join([*lines, added]) + "\n")


async def test_a_new_entity_from_its_table_to_its_test(services: Services, empty_database: str, tmp_path: Path) -> None:
    """Chapters 5.3 to 5.7, followed word for word in a copy of the project; then its tests pass."""
    project = copy_project(tmp_path)
    for title in ("5.3 SQLAlchemy", "5.4 Pydantic", "5.6 CRUD", "5.7 Routes"):
        for block in blocks(title, "python"):
            _write(project, block)
    tools = {"PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    environment = services.environment(POSTGRES_DB=empty_database) | tools

    await apply_migrations(services.settings(POSTGRES_DB=empty_database))
    for block in blocks("5.5 Alembic", "sh"):
        status, output = await shell(block.replace("poetry run", f"{PYTHON} -m"), project / "src", environment)
        assert status == 0, output
    status, output = await shell(f"{PYTHON} -m alembic check", project / "src", environment)
    assert status == 0, output
    for command in ("ruff format --check src tests", "ruff check src tests", "pytest -q tests/test_entity.py"):
        status, output = await shell(f"{PYTHON} -m {command}", project, tools)
        assert status == 0, output


async def test_plain_fastcrud(db: AsyncSession) -> None:
    """The note of chapter 5.6 that people know from FastCRUD's documentation and other projects."""
    definition, instance = re.findall(r"`(\w+ = (?:FastCRUD\[|CRUDUser\()[^`]*)`", chapter("5.6 CRUD"))
    names: dict[str, Any] = {"FastCRUD": FastCRUD, "User": User, **vars(schemas)}
    exec(f"{definition}\n{instance}", names)  # noqa: S102 - the README's own code
    user = await names["crud_users"].get(db=db, username="userson", is_deleted=False, schema_to_select=schemas.UserRead)

    assert user["username"] == "userson"


async def test_a_list_of_fastcrud_by_page(services: Services, rows: Rows) -> None:
    tier = await rows.tier("free")
    names: dict[str, Any] = {}
    exec(blocks("5.7.1 Paginated", "python")[0], names)  # noqa: S102 - the README's own code
    async with running(create_application(router=names["router"], settings=services.settings())) as client:
        page = (await client.get("/tiers-by-page?items_per_page=1")).json()

    assert page["data"] == [tier.model_dump(mode="json")]
    assert (page["total_count"], page["page"], page["items_per_page"]) == (1, 1, 1)


PUBLIC_CHAPTERS = """
0. About; 1. Features; 2. Contents; 3. Prerequisites; 3.0 Start; 3.1 Environment Variables (.env);
3.2 Docker Compose (preferred); 3.3 From Scratch; 4. Usage; 4.1 Docker Compose; 4.2 From Scratch; 4.2.1 Packages;
4.2.2 Running PostgreSQL With Docker; 4.2.3 Running Redis With Docker; 4.2.4 Running the API;
4.3 Creating the first superuser; 4.3.1 Docker Compose; 4.3.2 From Scratch; 4.3.3 Creating the first tier;
4.4 Database Migrations; 5. Extending; 5.1 Project Structure; 5.2 Database Model; 5.2.1 Token Blacklist;
5.3 SQLAlchemy Models; 5.4 Pydantic Schemas; 5.5 Alembic Migrations; 5.6 CRUD; 5.6.1 Get; 5.6.2 Get Multi;
5.6.3 Create; 5.6.4 Exists; 5.6.5 Count; 5.6.6 Update; 5.6.7 Delete; 5.6.8 Get Joined; 5.6.9 Get Multi Joined;
More Efficient Selecting; 5.7 Routes; 5.7.1 Paginated Responses; 5.7.2 HTTP Exceptions; 5.8 Caching;
5.9 More Advanced Caching; Invalidating Extra Keys; Invalidate Extra By Pattern; Client-side Caching;
5.10 ARQ Job Queues; 5.11 Rate Limiting; 5.12 JWT Authentication; 5.12.1 Details; 5.12.2 Usage; 5.13 Running;
5.14 Create Application; 6. Running in Production; 6.1 Uvicorn Workers with Gunicorn; 6.2 Running with NGINX;
6.2.1 One Server; 6.2.2 Multiple Servers; 7. Testing; 7.1 Docker Compose; 7.2 From Scratch; 8. Contributing;
9. References; 10. License; 11. Contact
"""
"""Of the README whose layout this project keeps, in its order; ours has some more."""


def test_the_chapters_have_their_known_numbers_and_titles() -> None:
    titles = re.findall(r"(?m)^#{2,4} (.+)$", OUTSIDE_OF_BLOCKS)
    expected = [title.strip() for title in PUBLIC_CHAPTERS.replace("\n", " ").split(";")]

    assert [title for title in titles if title in expected] == expected


def test_the_contents_list_every_chapter() -> None:
    titles = re.findall(r"(?m)^#{2,4} (.+)$", OUTSIDE_OF_BLOCKS)

    assert re.findall(r"- \[(.+?)\]\(#", chapter("2. Contents")) == titles


def test_a_custom_application_with_custom_settings(services: Services) -> None:
    main, settings = blocks("5.14 Create Application", "python")
    for code in (main, settings):
        names: dict[str, Any] = {}
        exec(code, names)  # noqa: S102 - the README's own code
        assert "app" in names or issubclass(names["Settings"], SettingsBase)


DEVELOPERS_FILE = """
ENVIRONMENT="production"
TRUSTED_PROXIES="10.0.0.1"
ALLOWED_HOSTS="api.example.com"
POSTGRES_PORT=1
REDIS_RATE_LIMIT_HOST="192.0.2.1"
LOGIN_RATE_LIMIT_LIMIT="nonsense"
TEST_NAME="Somebody Else"
TEST_PASSWORD='a $password #1'
"""
ACCOUNT_TEST = """
from app.core.config import settings
from tests.conftest import Services


def test_the_account_of_the_developers_file(services: Services) -> None:
    assert (settings.TEST_NAME, settings.TEST_PASSWORD) == ("Somebody Else", "a $password #1")
    assert services.environment()["TEST_NAME"] == "Somebody Else"
"""


async def test_the_test_of_an_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of chapter 7 passes as a test of this suite, whatever `src/.env` holds; only `TEST_...` counts."""
    # This run may have taken over those of the developer's own file, and variables win over the file.
    for name in [name for name in os.environ if name.startswith(PREFIX_FOR_TESTS)]:
        monkeypatch.delenv(name)
    project = copy_project(tmp_path)
    (project / "src" / ".env").write_text(DEVELOPERS_FILE)
    (project / "tests" / "test_items.py").write_text(blocks("7. Testing", "python")[0] + ACCOUNT_TEST)
    status, output = await shell(f"{PYTHON} -m pytest -q tests/test_items.py", project, {"POSTGRES_DB": "elsewhere"})

    assert status == 0, output
    assert "2 passed" in output


def test_every_make_target_exists() -> None:
    text = README.read_text(encoding="utf-8")
    for target in set(re.findall(r"(?m)(?:^|`)make ([a-z-]+)", text)):
        result = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr


def test_every_named_file_exists() -> None:
    text = README.read_text(encoding="utf-8")
    created = {"src/.env", *re.findall(r"^# ((?:src|tests)/\S+)$", text, re.MULTILINE)}
    for name in set(re.findall(r"`((?:src|tests|docs|benchmarks|dev|deploy)/[\w./-]+)`", text)) - created:
        assert (ROOT / name.partition("#")[0]).exists(), name
    created_later = {"run", "logs"}
    known = {path.name for path in (*ROOT.iterdir(), *(ROOT / "src").rglob("*"), *(ROOT / "tests").rglob("*"))}
    for name in re.findall(r"── ([\w./-]+)", chapter("5.1 Project Structure")):
        assert Path(name).name in known | created_later, name


def test_every_internal_link_has_a_target() -> None:
    text = README.read_text(encoding="utf-8")
    titles = re.findall(r"^#{2,4} (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors
    for name in re.findall(r"\]\((?!#|http)([^)]+)\)", text):
        assert (ROOT / name.partition("#")[0]).exists(), name


def test_every_test_that_the_threat_table_names_exists() -> None:
    named = re.findall(r"`(tests/\w+\.py)(?:::(\w+))?`", (ROOT / "docs" / "security.md").read_text(encoding="utf-8"))
    assert len(named) > 25
    for path, test in named:
        assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8") or not test, f"{path}::{test}"
