"""The application factory: what the settings leave out is not there, and two applications do not mix."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI

from app.api import router
from app.core import logger
from app.core.config import (
    AppSettings,
    CryptSettings,
    EnvironmentSettings,
    PostgresSettings,
    RedisRateLimiterSettings,
    Settings,
)
from app.core.resources import resources_of
from app.core.settings.base import SettingsBase
from app.core.setup import create_application
from app.core.utils import queue
from tests.conftest import Services
from tests.helper import API, Rows, running
from tests.support import authorization as may

AUTHORIZATION = may.Table(may.anyone("GET", "/health"), may.anyone("GET", "/ready"))


class OnlyTheDatabase(AppSettings, CryptSettings, PostgresSettings, EnvironmentSettings):
    """No Redis at all."""


class Nothing(SettingsBase):
    """Not even a name."""


async def test_what_is_left_out_is_not_opened(settings: Settings, rows: Rows) -> None:
    lean = OnlyTheDatabase.model_validate(settings.model_dump(exclude_unset=True))
    app = create_application(router=router, settings=lean)
    await rows.user("userson")

    async with running(app) as client:
        resources = app.state.resources
        assert {resources.cache, resources.queue, resources.rate_limiter} == {None}
        response = await client.get(f"{API}/user/userson")
        assert response.status_code == 200
        assert "cache-control" not in response.headers
        assert (await client.get(f"{API}/ready")).json()["parts"] == {"database": "ok"}


async def test_a_switched_off_feature_returns_501(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """501, and a log line with the settings class that switches it on."""
    lean = OnlyTheDatabase.model_validate(settings.model_dump(exclude_unset=True))
    app = create_application(router=router, settings=lean)
    async with running(app) as client:
        response = await client.post(f"{API}/tasks/task?message=x")
    assert response.status_code == 501
    assert response.json() == {"detail": "This feature is switched off."}

    app = create_application(router=router, settings=Nothing())
    async with running(app) as client:
        for path in (f"{API}/users", f"{API}/user/free", f"{API}/tier/free"):
            assert (await client.get(path)).status_code == 501
        assert (await client.get(f"{API}/user/me")).status_code == 501

    with pytest.raises(RuntimeError, match="has not started"):
        resources_of(create_application(router=router, settings=Nothing()))


async def test_settings_without_features_serve_a_custom_router() -> None:
    own = APIRouter()

    @own.get("/hello")
    async def hello() -> str:
        return "world"

    app = create_application(router=own, settings=Nothing())

    async with running(app) as client:
        assert (await client.get("/hello")).json() == "world"
        assert app.state.resources.database is None


async def test_two_applications_do_not_mix(services: Services, rows: Rows, empty_database: str) -> None:
    """Each serves from the database and signs with the key of the settings that it was given."""
    account = await rows.user("userson")
    other = services.settings(POSTGRES_DB=empty_database, SECRET_KEY="another secret that is long enough, too")
    one = create_application(router=router, settings=rows.settings)
    two = create_application(router=router, settings=other, title="The other")

    async with running(one) as first, running(two) as second:
        assert (await first.get(f"{API}/users")).json()["total_count"] == 1
        assert (await second.get(f"{API}/users")).json()["total_count"] == 0
        assert (await first.get(f"{API}/user/me", headers=account.headers)).status_code == 200
        assert (await second.get(f"{API}/user/me", headers=account.headers)).status_code == 401
        assert two.title == "The other"


async def test_a_custom_lifespan_runs_inside(settings: Settings) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        await app.state.resources.rate_limiter.ping()
        seen.append("start")
        yield {"mine": "state"}
        await app.state.resources.rate_limiter.ping()
        seen.append("stop")

    app = create_application(router=router, settings=settings, create_tables_on_start=False, lifespan=own)
    async with app.router.lifespan_context(app) as state:
        assert state == {"mine": "state"}

    assert seen == ["start", "stop"]


async def test_everything_is_closed_at_the_end(settings: Settings) -> None:
    app = create_application(router=router, settings=settings)
    async with running(app) as client:
        await client.get(f"{API}/ready")
        resources = app.state.resources
        assert resources.database.engine.pool.checkedin() > 0
        assert queue.pool is resources.queue

    assert resources.database.engine.pool.checkedin() == 0


async def test_the_openapi_document_survives_placeholders(services: Services) -> None:
    settings = services.settings(CONTACT_EMAIL="Your email", CONTACT_NAME="Your name", LICENSE_NAME="The license")
    app = create_application(router=router, settings=settings)

    assert app.openapi()["info"]["contact"] == {"name": "Your name"}


async def test_keywords_go_to_fastapi_and_win(settings: Settings) -> None:
    app = create_application(router=router, settings=settings, title="Mine", version="9")

    assert (app.title, app.version) == ("Mine", "9")
    with pytest.raises(TypeError):
        create_application(router=router, settings=settings, unknown_keyword=1)


def test_the_settings_of_a_feature_are_its_switch(settings: Settings) -> None:
    assert isinstance(settings, RedisRateLimiterSettings)
    assert not issubclass(OnlyTheDatabase, RedisRateLimiterSettings)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
@pytest.mark.parametrize("unwritable", ["folder", "file"])
def test_log_files_that_cannot_be_written_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unwritable: str
) -> None:
    monkeypatch.setattr(logger, "LOG_FILE", tmp_path / "app.log")
    (tmp_path / "app.log").touch()
    assert logger._open_log_file(logging.Formatter())
    (tmp_path if unwritable == "folder" else tmp_path / "app.log").chmod(0o555)
    assert logger._open_log_file(logging.Formatter()) is None
    tmp_path.chmod(0o755)


def test_the_log_folder_is_inside_the_package() -> None:
    assert logger.LOG_FILE.parts[-3:] == ("app", "logs", "app.log")
    assert Path(logger.__file__).parents[1] == logger.LOG_FILE.parents[1]
