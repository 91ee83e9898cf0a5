"""The README is true: what it shows is run here as it stands."""

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
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db.migrate import apply_migrations
from app.core.settings_base import SettingsBase
from app.crud.crud_users import crud_users
from tests.conftest import Services
from tests.helper import API, Rows
from tests.support.readme import README, ROOT, blocks, chapter, copy_project

PYTHON = shlex.quote(sys.executable)
FILE_NAME = re.compile(r"^# (src/\S+)\n")


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
    """Register, log in, write, list, delete, tier, rule, task, renew, log out: each line answers what it should."""
    root = await rows.superuser()
    script = "\necho\n".join(blocks("4.5 First steps", "sh"))
    here = script.replace("http://127.0.0.1:8000/api/v1", f"{server}{API}")
    assert here != script
    spaced = re.sub(r"(?m)^curl .*$", lambda line: f"{line[0]}; echo", here)
    environment = {"ADMIN_USERNAME": root.username, "ADMIN_PASSWORD": "correct horse battery staple"}
    status, output = await shell(spaced, tmp_path, environment)

    assert status == 0, output
    answers = [json.loads(line) for line in output.splitlines() if line.strip()]
    assert answers[-1] == {"detail": "User not authenticated."}
    assert answers[-2] == {"message": "Logged out successfully"}
    task = answers[-3]
    assert (task["status"], task["result"]) == ("complete", "Task hello is complete!")
    assert not [answer for answer in answers[:-1] if "detail" in answer], output
    assert len(answers) == len(re.findall(r"(?m)^curl ", script))


@pytest.fixture
async def db(rows: Rows) -> AsyncIterator[AsyncSession]:
    await rows.user("userson")
    await rows.user("myusername")
    async with rows.database.sessions() as session:
        yield session


CRUD_CHAPTERS = re.findall(r"^#### (5\.6\.\d+ .+)$", README.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("title", CRUD_CHAPTERS)
async def test_the_data_access(db: AsyncSession, title: str) -> None:
    for block in blocks(title, "python"):
        code = compile(block, title, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        names: dict[str, Any] = {"db": db, "crud_users": crud_users}
        result = eval(code, names)  # noqa: S307 - the README's own code
        if inspect.isawaitable(result):
            await result
        await db.rollback()


VISIT = """
import asyncio, httpx
from app.core.config import settings
from app.main import app
from tests.helper import Rows
from tests.support.openapi_texts import missing_texts

async def main():
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="https://x") as client:
        rows = Rows(app.state.resources.database, settings)
        user, root = await rows.user(), await rows.superuser()
        made = await client.post("/api/v1/entity", headers=user.headers, json={"name": "First"})
        assert made.status_code == 201, made.text
        again = await client.post("/api/v1/entity", headers=user.headers, json={"name": "First"})
        assert (again.status_code, again.json()) == (422, {"detail": "Entity name not available"}), again.text
        assert (await client.get("/api/v1/entities/1")).json() == made.json()
        page = (await client.get("/api/v1/entities")).json()
        assert page == {"data": [made.json()], "total_count": 1, "has_more": False, "page": 1, "items_per_page": 10}
        assert (await client.delete("/api/v1/entities/1", headers=user.headers)).status_code == 403
        assert (await client.delete("/api/v1/entities/1", headers=root.headers)).status_code == 200
        assert (await client.get("/api/v1/entities/1")).status_code == 404
        assert (await client.get("/api/v1/entities/99999999999")).status_code == 422
        assert "entities" in app.state.reserved_usernames
    assert missing_texts(app) == []

asyncio.run(main())
"""


async def test_an_entity_from_the_table_to_the_endpoint(
    services: Services, empty_database: str, tmp_path: Path
) -> None:
    """Chapters 5.3 to 5.7, followed word by word in a copy of the project."""
    project = copy_project(tmp_path)
    for title in ("5.3 SQLAlchemy", "5.4 Pydantic", "5.6 CRUD", "5.7 Routes"):
        for block in blocks(title, "python"):
            name = FILE_NAME.match(block)
            assert name, f"a block of {title} does not say which file it is"
            path = project / name[1]
            before = path.read_text() if path.exists() else ""
            marker = "router.include_router(posts_router)"
            path.write_text(before.replace(marker, f"{block}\n{marker}") if marker in before else before + block)
    environment = services.environment(POSTGRES_DB=empty_database)
    migrate = blocks("5.5 Alembic", "sh")[0].replace("poetry run", f"{PYTHON} -m")

    await apply_migrations(services.settings(POSTGRES_DB=empty_database))
    status, output = await shell(migrate, project / "src", environment)
    assert status == 0, output
    status, output = await shell(f"{PYTHON} -m alembic check", project / "src", environment)
    assert status == 0, output
    visit = project / "visit.py"
    visit.write_text(VISIT)
    paths = {"PYTHONPATH": os.pathsep.join((str(project), str(project / "src")))}
    status, output = await shell(f"{PYTHON} visit.py", project, environment | paths)
    assert status == 0, output


def test_the_application_and_settings_of_ones_own(services: Services) -> None:
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
REDIS_CACHE_HOST="192.0.2.1"
DEFAULT_RATE_LIMIT_LIMIT="nonsense"
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


async def test_the_test_of_an_item(tmp_path: Path) -> None:
    """The example of chapter 7 passes as a test of this suite, whatever `src/.env` holds; only `TEST_...` counts."""
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
    created = {"src/.env", *re.findall(r"^# (src/\S+)$", text, re.MULTILINE)}
    for name in set(re.findall(r"`((?:src|tests|docs|benchmarks)/[\w./-]+)`", text)) - created:
        assert (ROOT / name.partition("#")[0]).exists(), name
    known = {path.name for path in (*ROOT.iterdir(), *(ROOT / "src").rglob("*"), *(ROOT / "tests").rglob("*"))} | {
        "run"
    }
    for name in re.findall(r"── ([\w./-]+)", chapter("5.1 Project Structure")):
        assert Path(name).name in known, name


def test_every_link_inside_leads_somewhere() -> None:
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
