"""One line per request: its fields, whatever becomes of the request, and nothing that a client could put into it."""

import asyncio
import json
import logging
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
from fastapi import APIRouter, FastAPI

from app.api import router
from app.core.config import AppSettings, Settings
from app.core.log_formats import JSONFormatter, text_formatter
from app.core.log_text import TextFormatter
from app.core.queue.jobs import JobQueue
from app.core.request_log.collector import RequestLog
from app.core.request_log.lines import LOGGER, RequestLines, kind_of
from app.core.setup import create_application
from app.core.trace_context import carried, request_id, resumed
from app.core.worker.runtime.context import TaskContext
from dev.local.ports import free_port
from dev.local.processes import wait_until
from tests.conftest import Services
from tests.helper import API, Rows, running
from tests.support.processes import python, wait_until_ready
from tests.support.tasks_worker import run_tasks

FIELDS = {
    *("time", "level", "logger", "message", "request_id", "method", "route", "status", "duration_ms"),
    *("response_bytes", "user_id", "client_left"),
}
TEXT = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (INFO |ERROR)   app\.requests: [A-Z]+ +(\d{3}|-  ) +\d+\.\d ms +\d+ B  "
    r"(-|/[^ ?]*)( user=\d+)?( client left)? \[[A-Za-z0-9._-]{1,64}\]"
)


class Lines(logging.Handler):
    """What the request log writes, in both forms."""

    shared: ClassVar[logging.Logger] = logging.getLogger(LOGGER)

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self._json: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert isinstance(record, RequestLines)
        self._json += JSONFormatter().format(record).splitlines()
        self.text += text_formatter().format(record).splitlines()

    @property
    def entries(self) -> list[Any]:
        return [json.loads(line) for line in self._json]


@contextmanager
def captured() -> Iterator[Lines]:
    lines = Lines()
    level = lines.shared.level
    lines.shared.setLevel(logging.INFO)
    lines.shared.addHandler(lines)
    try:
        yield lines
    finally:
        lines.shared.removeHandler(lines)
        lines.shared.setLevel(level)


own = APIRouter()


@own.get("/broken")
async def broken() -> None:
    raise ValueError("a secret")


@pytest.fixture
async def app(settings: Settings, rows: Rows) -> FastAPI:
    app = create_application(router=router, settings=settings)
    app.include_router(own)
    return app


@pytest.fixture
async def lines() -> AsyncIterator[Lines]:
    with captured() as lines:
        yield lines


async def one_entry(app: FastAPI, lines: Lines, method: str, path: str, **options: Any) -> Any:
    """The only entry, after the application has stopped."""
    async with running(app) as client:
        await client.request(method, path, **options)
    (entry,) = lines.entries
    assert entry.keys() == FIELDS
    assert TEXT.fullmatch(lines.text[0]), lines.text
    return entry


async def test_success(app: FastAPI, lines: Lines, rows: Rows) -> None:
    account = await rows.user()
    path = f"{API}/user/{account.username}/tier"
    entry = await one_entry(app, lines, "GET", path, params={"secret": "x"}, headers=account.headers)
    assert (entry["method"], entry["route"], entry["status"]) == ("GET", f"{API}/user/{{username}}/tier", 200)
    assert (entry["level"], entry["logger"], entry["client_left"]) == ("INFO", LOGGER, False)
    assert entry["response_bytes"] == len(b"null")
    assert re.fullmatch("[0-9a-f]{32}", entry["request_id"])
    assert 0 < entry["duration_ms"] < 5_000


async def test_only_the_id_of_a_user_is_logged(app: FastAPI, lines: Lines, rows: Rows) -> None:
    account = await rows.user()
    entry = await one_entry(app, lines, "GET", f"{API}/user/me", headers=account.headers)
    assert entry["user_id"] == account.user.id
    for secret in (account.username, account.user.email, account.headers["Authorization"]):
        assert secret not in f"{lines.text}{lines.entries}"


async def test_a_hit_of_the_cache_is_logged_with_its_route(app: FastAPI, lines: Lines, rows: Rows) -> None:
    account = await rows.user()
    async with running(app) as client:
        for _ in range(3):
            response = await client.get(f"{API}/user/{account.username}")
    assert response.headers["x-cache"] == "hit"
    assert [entry["route"] for entry in lines.entries] == [f"{API}/user/{{username}}"] * 3
    assert {entry["response_bytes"] for entry in lines.entries} == {len(response.content)}


@pytest.mark.parametrize(
    ("method", "path", "route", "status", "level"),
    [
        ("GET", f"{API}/user/nobody", f"{API}/user/{{username}}", 404, "INFO"),
        ("GET", "/no-such-path", None, 404, "INFO"),
        ("PUT", f"{API}/users", f"{API}/users", 405, "INFO"),
        ("GET", "/broken", "/broken", 500, "ERROR"),
    ],
)
async def test_failures(
    app: FastAPI, lines: Lines, method: str, path: str, route: str | None, status: int, level: str
) -> None:
    entry = await one_entry(app, lines, method, path)
    assert (entry["route"], entry["status"], entry["level"]) == (route, status, level)
    assert "a secret" not in str(entry)


async def test_a_head_request_sends_no_bytes(app: FastAPI, lines: Lines) -> None:
    entry = await one_entry(app, lines, "HEAD", f"{API}/users")
    assert (entry["method"], entry["route"], entry["response_bytes"]) == ("HEAD", f"{API}/users", 0)


@pytest.mark.parametrize("name", ["a\nb", 'x", "status": 200', "\x1b[2J", "x" * 65, "é"])
async def test_a_forged_request_id_is_replaced(app: FastAPI, lines: Lines, name: str) -> None:
    headers = {b"x-request-id": name.encode()}
    entry = await one_entry(app, lines, "GET", f"{API}/users", headers=headers)
    assert re.fullmatch("[0-9a-f]{32}", entry["request_id"])


async def test_an_invented_method_and_path_forge_no_line(app: FastAPI, lines: Lines) -> None:
    entry = await one_entry(app, lines, 'X"Y', f'{API}/"%0a%1b[2J')
    assert (entry["method"], entry["route"]) == ("OTHER", None)


async def test_health_checks_are_logged_at_debug(app: FastAPI, lines: Lines) -> None:
    async with running(app) as client:
        await client.get(f"{API}/health")
        await client.get(f"{API}/ready")
    assert lines.entries == []


async def test_a_cancelled_request_is_one_whose_client_left(app: FastAPI, lines: Lines) -> None:
    @app.get("/slow")
    async def slow() -> None:
        await asyncio.sleep(30)

    async with running(app) as client:
        request = asyncio.create_task(client.get("/slow"))
        await asyncio.sleep(0.1)
        request.cancel()
        await asyncio.wait({request})
    (entry,) = lines.entries
    assert (entry["route"], entry["status"], entry["client_left"], entry["level"]) == ("/slow", None, True, "INFO")
    assert TEXT.fullmatch(lines.text[0]), lines.text


async def test_many_requests_are_written_together(lines: Lines) -> None:
    log = RequestLog()
    for number in range(1200):
        log.add((number, 0.5, "GET", None, 200, 1, None, b"x", "0" * 32, False))
    log.write()
    assert [entry["time"][:19] for entry in lines.entries[:2]] == ["1970-01-01T00:00:00", "1970-01-01T00:00:01"]
    assert len(lines.entries) == 1200
    assert lines.entries[0]["trace_id"] == "0" * 32


@pytest.mark.parametrize("user_id", [7, UUID("5b0e0c1a-0000-4000-8000-000000000007")])
async def test_users_may_have_ids_of_another_type(lines: Lines, user_id: int | UUID) -> None:
    log = RequestLog()
    log.add((0.0, 0.5, "GET", None, 200, 1, user_id, b"x", None, False))
    log.write()
    assert [str(entry["user_id"]) for entry in lines.entries] == [str(user_id)]
    assert f" user={user_id} " in lines.text[0]


async def test_without_the_setting_nothing_is_logged(services: Services, lines: Lines, rows: Rows) -> None:
    app = create_application(router=router, settings=services.settings(LOG_REQUESTS=False))
    async with running(app) as client:
        await client.get(f"{API}/users")
    assert lines.entries == []


class WithoutTelemetry(AppSettings):
    """Settings without `TelemetrySettings` among their bases."""


async def test_without_the_class_of_settings_there_is_no_telemetry(lines: Lines) -> None:
    app = create_application(router=router, settings=WithoutTelemetry())
    async with running(app) as client:
        assert (await client.get(f"{API}/users")).status_code == 501
    assert lines.entries == []


def test_colours_are_for_terminals() -> None:
    entry = (0.0, 0.5, "GET", None, 404, 1, None, b"x", None, False)
    record = RequestLines([(entry, kind_of(entry))])
    plain, coloured = (TextFormatter("", coloured=coloured).format(record) for coloured in (False, True))
    assert "\x1b" not in plain
    assert re.sub("\x1b\\[[0-9]*m", "", coloured) == plain
    assert coloured != plain


async def read_request_id(ctx: TaskContext) -> str:
    return request_id.get()


async def test_the_request_id_travels_into_a_task(services: Services, app: FastAPI) -> None:
    """The lines of the task's run name the request that submitted it; another task's lines do not."""
    seen: list[str] = []

    class Ids(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(f"{record.getMessage()} {request_id.get()}")

    arq, ids = logging.getLogger("arq.worker"), Ids(level=logging.INFO)
    arq.addHandler(ids)
    arq.setLevel(logging.INFO)
    try:
        async with running(app):
            queue: JobQueue = app.state.resources.queue
            with resumed({"request_id": "my-request"}):
                assert carried() == {"request_id": "my-request"}
                one = await queue.enqueue_job("read_request_id", _job_id="one")
            two = await queue.enqueue_job("read_request_id", _job_id="two")
            await run_tasks(services.settings(), read_request_id)
            assert one
            assert two
            assert [await one.result(5), await two.result(5)] == ["my-request", "-"]
    finally:
        arq.removeHandler(ids)
        arq.setLevel(logging.NOTSET)
    assert {line.endswith(" my-request") for line in seen if "one" in line} == {True}
    assert {line.endswith(" -") for line in seen if "two" in line} == {True}


@pytest.mark.parametrize("name", ["a\nb", "x" * 65])
def test_a_forged_id_in_the_queue_is_not_resumed(name: str) -> None:
    with resumed({"request_id": name}):
        assert request_id.get() == "-"


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.usefixtures("rows")
def test_a_client_that_leaves(services: Services, tmp_path: Path, form: str) -> None:
    """The server's own lines have the same form and stream, and do not repeat the requests."""
    port = free_port()
    environment = services.environment(LOG_FORMAT=form, PASSWORD_HASH_ROUNDS="12")
    command: tuple[str, ...] = ("uvicorn", "src.app.main:app", "--port", str(port))
    command += ("--log-config", "src/app/core/uvicorn_logging.json")
    with python(*command, log=tmp_path / "log", environment=environment) as program:
        wait_until_ready(f"http://127.0.0.1:{port}{API}/health", program)
        leave_during_login(port)
        mark = "client left" if form == "text" else '"client_left": true'
        assert wait_until(lambda: mark in program.output, 10), program.output
    lines = program.output.splitlines()
    (left,) = [line for line in lines if f"{API}/login" in line]
    if form == "json":
        entries = [json.loads(line) for line in lines]
        assert json.loads(left)["level"] == "INFO"
        assert {"uvicorn.error", LOGGER} <= {entry["logger"] for entry in entries}
    else:
        assert TEXT.fullmatch(left)
        assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [A-Z]+ +[a-z.]+: ", line) for line in lines), lines


def leave_during_login(port: int) -> None:
    body = b"username=nobody&password=wrong-password"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
