"""One trace from a request to the SQL of its task, every figure of the docs and no other, and no values in them."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry import trace
from redis.asyncio import Redis
from sqlalchemy import text

from app.api import router
from app.core.config import Settings
from app.core.queue.jobs import JobQueue
from app.core.setup import create_application
from app.core.telemetry.sql import shown
from app.core.trace_context import carried
from app.core.worker.functions import send_welcome
from app.core.worker.runtime.context import TaskContext
from dev.local.ports import free_port
from dev.local.processes import wait_until
from dev.services import ValkeyServer
from tests.conftest import Services
from tests.helper import API, PASSWORD, PLAIN_HTTP, Account, Rows, running
from tests.support import outbox
from tests.support.collector import Collector, ReceivedSpan, collecting
from tests.support.processes import python, wait_until_ready
from tests.support.readme import ROOT
from tests.support.tasks_worker import run_tasks
from tests.test_request_log import captured

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
DOCS = (ROOT / "docs/observability.md").read_text(encoding="utf-8")
SECRET = "a secret value"
HIDDEN = "HIDDEN"
USERNAME = "quetzalcoatl"


async def sample_background_task(ctx: TaskContext, name: str) -> None:
    """In place of the application's, which takes five seconds."""
    if name == SECRET:
        raise ValueError(SECRET)
    await ctx.database.fetch_one(text("SELECT name FROM tier WHERE name = :name"), {"name": name})
    async with ctx.session() as session:
        await session.execute(text("SELECT id FROM token_blacklist WHERE token = 'from a literal value' LIMIT 7"))


async def use_everything(app: FastAPI, client: httpx.AsyncClient, account: Account) -> None:
    user, me = f"{API}/user/{account.username}", account.headers
    for _ in range(3):
        await client.get(user)
    await client.get(f"{API}/users?page=1&secret={SECRET}")
    for message in ("hello", SECRET, "refused"):
        await client.post(f"{API}/tasks/task", params={"message": message}, headers={**TRACEPARENT, **me})
    await client.request(HIDDEN, f"{API}/no-such-path/{HIDDEN}", headers={"Host": HIDDEN, "User-Agent": HIDDEN})
    form = {"username": account.username, "password": PASSWORD}
    await client.post(f"{API}/login", data=form)
    for _ in range(2):
        await client.post(f"{API}/login", data=form | {"password": SECRET})
    await client.post(f"{API}/login", data=form)
    await client.post(f"{API}/logout", headers={**me, "Cookie": f"refresh_token={account.refresh_token}"})
    sessions = app.state.resources.database.sessions
    async with sessions() as session, sessions() as at_the_same_time:
        for each in (session, at_the_same_time):
            await each.execute(text("SELECT 1"))


@pytest.fixture(scope="module")
async def received(services: Services, application: FastAPI, redis: Redis) -> AsyncIterator[Collector]:
    """What a collector received from an application and a worker."""
    with collecting() as collector:
        settings = observed(services, collector)
        rows = Rows(application.state.resources.database, settings)
        await redis.flushall()
        app = create_application(router=router, settings=settings)
        account = await rows.user(USERNAME)
        async with running(app) as client:
            await use_everything(app, client, account)
            await run_tasks(settings, sample_background_task)
            await asyncio.sleep(0.6)  # for one look at the event loop
        yield collector


def observed(services: Services, collector: Collector, **changes: object) -> Settings:
    values: dict[str, object] = {"TASK_MAX_TRIES": 2, "TASK_RETRY_DELAY_SECONDS": 0.01, "LOGIN_MAX_FAILURES": 2}
    values |= {"DEFAULT_RATE_LIMIT_LIMIT": 2, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
    return services.settings(**values | changes)


def in_trace(collector: Collector, name: str) -> list[ReceivedSpan]:
    return [span for span in collector.spans if span.trace_id == TRACE and re.fullmatch(name, span.name)]


class TestTraces:
    async def test_one_trace_from_the_request_to_the_sql_of_its_task(self, received: Collector) -> None:
        spans = {span.span_id: span for span in received.spans if span.trace_id == TRACE}
        tier = next(span for span in in_trace(received, "SELECT tier") if span.service.endswith("-worker"))
        process = spans[tier.parent_id]
        send = spans[process.parent_id]
        request = spans[send.parent_id]
        names = (process.name, send.name, request.name, request.parent_id)
        task = "sample_background_task"
        assert names == (f"process {task}", f"send {task}", f"POST {API}/tasks/task", PARENT)
        children = {span.name for span in spans.values() if span.parent_id in (request.span_id, send.span_id)}
        assert {"SELECT user", "EVALSHA"} <= children
        assert len({span.span_id for span in spans.values()} | {PARENT}) == len(spans) + 1
        assert {span.parent_id for span in spans.values()} <= {*spans, PARENT}

    async def test_statements_of_sessions_are_in_it(self, received: Collector) -> None:
        (_, *_), (read, *_) = in_trace(received, "process .*"), in_trace(received, "SELECT token_blacklist")
        assert read.attributes["db.query.text"] == "SELECT id FROM token_blacklist WHERE token = ? LIMIT ?"

    async def test_no_values_and_no_messages_leave_the_process(self, received: Collector) -> None:
        everything = received.everything
        assert received.spans
        for secret in (
            SECRET,
            HIDDEN,
            HIDDEN.lower(),
            USERNAME,
            "a literal value",
            PASSWORD,
            "@example.com",
            "hello",
            "ValueError: ",
            "Bearer",
        ):
            assert secret.encode() not in everything, secret

    async def test_failures_are_marked_with_their_class_only(self, received: Collector) -> None:
        failed = [span for span in in_trace(received, "process .*") if span.is_error]
        assert {span.attributes["error.type"] for span in failed} == {"ValueError"}
        assert [span.attributes["app.task.outcome"] for span in failed] == ["retried", "failed"]

    async def test_the_lane_of_hits_is_traced_with_its_route(self, received: Collector) -> None:
        requests = [span for span in received.spans if span.name == f"GET {API}/user/{{username}}"]
        assert len(requests) == 3
        assert {span.attributes["url.path"] for span in requests} == {f"{API}/user/{{username}}"}
        assert all("url.query" not in span.attributes for span in received.spans)

    async def test_a_task_of_the_outbox_is_in_the_trace_of_its_request(self, services: Services, rows: Rows) -> None:
        """The relay sends it outside of the request, and the worker continues the trace."""
        with collecting() as collector:
            settings = observed(services, collector)
            async with running(create_application(router=router, settings=settings)) as client:
                body = {"name": "Name", "username": "new", "email": "new@example.com", "password": PASSWORD}
                response = await client.post(f"{API}/user", json=body, headers=TRACEPARENT)
                assert response.status_code == 201
            await run_tasks(settings, send_welcome)
        spans = {span.span_id: span for span in collector.spans if span.trace_id == TRACE}
        (read,) = (span for span in spans.values() if span.name == "SELECT user" and span.service.endswith("-worker"))
        process = spans[read.parent_id]
        send = spans[process.parent_id]
        (insert,) = in_trace(collector, "INSERT user")
        assert (process.name, send.name) == ("process send_welcome", "send send_welcome")
        assert insert.parent_id == send.span_id
        assert spans[send.parent_id].name == f"POST {API}/user"

    async def test_the_request_log_names_the_trace(self, services: Services, rows: Rows) -> None:
        with collecting() as collector, captured() as lines:
            app = create_application(router=router, settings=observed(services, collector))
            async with running(app) as client:
                await client.get(f"{API}/users", headers=TRACEPARENT)
        assert [entry["trace_id"] for entry in lines.entries] == [TRACE]


class TestFigures:
    async def test_every_figure_of_the_docs_is_emitted_and_no_other(self, received: Collector) -> None:
        documented = dict(re.findall(r"^\| `([a-z_.]+)` \| `([^`]+)` \|", DOCS, re.MULTILINE))
        assert {each.name: each.unit for each in received.figures} == documented

    async def test_figures_have_the_attributes_of_the_docs(self, received: Collector) -> None:
        """All of them in this run, except that of failures."""
        rows = re.findall(r"^\| `([a-z_.]+)` \| `[^`]+` \|(.*)\|$", DOCS, re.MULTILINE)
        documented = {name: {*re.findall(r"`([a-z_.]+)`", re.sub(r"\(.*?\)", "", text))} for name, text in rows}
        emitted: dict[str, set[str]] = {name: set() for name in documented}
        for figure in received.figures:
            emitted[figure.name] |= figure.attributes.keys()
        expected = {name: found - ({"error.type"} - emitted[name]) for name, found in documented.items()}
        assert emitted == expected

    @pytest.mark.parametrize(
        ("name", "attributes", "value"),
        [
            ("http.server.request.duration", {"http.route": f"{API}/user/{{username}}"}, 3),
            ("http.server.request.duration", {"http.response.status_code": 404}, 1),
            ("app.cache.requests", {"outcome": "miss"}, 2),
            ("app.cache.requests", {"outcome": "hit"}, 2),
            ("app.cache.fills", {}, 2),
            ("app.rate_limit.requests", {"outcome": "refused"}, 1),
            ("app.logins", {"outcome": "success"}, 1),
            ("app.logins", {"outcome": "failure"}, 2),
            ("app.logins", {"outcome": "locked_out"}, 1),
            ("app.sessions.revoked", {"reason": "logout"}, 1),
            ("app.task.duration", {"outcome": "complete"}, 1),
            ("app.task.duration", {"outcome": "failed"}, 1),
            ("app.task.duration", {"outcome": "retried"}, 1),
            ("app.task.tries", {}, 2),
            ("db.client.connection.max", {}, 40),
        ],
    )
    async def test_figures(self, received: Collector, name: str, attributes: dict[str, Any], value: float) -> None:
        assert received.latest(name, **attributes) == value


async def test_tasks_that_the_queue_does_not_have_are_counted(services: Services, rows: Rows) -> None:
    """Of 3 tasks in the outbox Redis has refused 1."""
    async with outbox.process(services.settings()) as process:
        await outbox.store_directly(process, 3)
    await rows.database.execute(text("UPDATE outbox SET error = 'x' WHERE id = (SELECT min(id) FROM outbox)"))
    with collecting() as collector:
        app = create_application(router=router, settings=observed(services, collector))
        async with running(app):
            await asyncio.sleep(0.2)  # for the first look
    expected = {"refused": 1, "waiting": 2}
    assert {state: collector.latest("app.outbox.tasks", state=state) for state in expected} == expected


async def test_what_an_unavailable_redis_leaves_undone_is_counted(
    services: Services, rows: Rows, tmp_path: Path
) -> None:
    with ValkeyServer(tmp_path / "valkey") as valkey, collecting() as collector:
        url = f"redis://127.0.0.1:{valkey.port}"
        settings = observed(services, collector, REDIS_CACHE_URL=url, REDIS_RATE_LIMIT_URL=url)
        async with running(create_application(router=router, settings=settings)) as client:
            await asyncio.to_thread(valkey.kill)
            await client.get(f"{API}/users")
            await client.post(f"{API}/tasks/task", params={"message": "hello"})
            await asyncio.to_thread(valkey.start)
    assert collector.latest("app.cache.requests") == collector.latest("app.cache.requests", outcome="bypass") == 1
    assert collector.latest("app.rate_limit.requests", outcome="failed") == 1


async def test_each_reason_for_the_end_of_a_session_is_counted(services: Services, rows: Rows) -> None:
    one, other = await rows.user(), await rows.user()
    with collecting() as collector:
        settings = observed(services, collector, REFRESH_TOKEN_REUSE_GRACE_SECONDS=0)
        async with running(create_application(router=router, settings=settings)) as client:
            cookie = {"Cookie": f"refresh_token={one.refresh_token}"}
            statuses = [(await client.post(f"{API}/refresh", headers=cookie)).status_code for _ in range(2)]
            assert statuses == [200, 401]
            body = {"current_password": PASSWORD, "new_password": f"{PASSWORD}2"}
            path = f"{API}/user/{other.username}/password"
            assert (await client.patch(path, json=body, headers=other.headers)).status_code == 200
    expected = {"reuse": 1, "password_change": 1, "logout": 0}
    assert {reason: collector.latest("app.sessions.revoked", reason=reason) for reason in expected} == expected


@pytest.mark.usefixtures("rows")
def test_the_figures_of_several_processes_add_up(services: Services, tmp_path: Path) -> None:
    """Each is an instance of its own, and the last figures are sent when it stops."""
    port, requests = free_port(), 40
    with collecting() as collector:
        variables = {"PORT": str(port), "HOST": "127.0.0.1", "PYTHONPATH": "src", "WEB_CONCURRENCY": "2"}
        environment = services.environment(**variables, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
        with python("gunicorn", "app.main:app", log=tmp_path / "log", environment=environment) as program:
            wait_until_ready(f"http://127.0.0.1:{port}{API}/ready", program)
            for _ in range(requests):
                httpx.get(f"http://127.0.0.1:{port}{API}/users", verify=PLAIN_HTTP).raise_for_status()
            os.kill(program.pid, signal.SIGTERM)
            assert wait_until(lambda: served(collector) == (2, requests), 20), program.output


def served(collector: Collector) -> tuple[int, float]:
    """By how many processes, and how many requests."""
    instances = {figure.instance for figure in collector.figures}
    return len(instances), collector.latest("http.server.request.duration", **{"http.route": f"{API}/users"})


async def test_without_an_endpoint_nothing_is_carried_or_exported(application: FastAPI, rows: Rows) -> None:
    queue: JobQueue = application.state.resources.queue
    assert "execute" not in vars(application.state.resources.database)
    assert "enqueue_job" not in vars(queue)
    assert carried() == {}
    assert not trace.get_current_span().get_span_context().is_valid


async def test_a_collector_that_does_not_respond_delays_nothing(services: Services, rows: Rows) -> None:
    settings = services.settings(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    app = create_application(router=router, settings=settings)
    async with asyncio.timeout(20), running(app) as client:
        assert (await client.get(f"{API}/users")).status_code == 200


@pytest.mark.parametrize(
    ("sql", "summary", "text"),
    [
        (
            'SELECT "user".id FROM "user" WHERE id = $1 LIMIT 10',
            "SELECT user",
            'SELECT "user".id FROM "user" WHERE id = $1 LIMIT ?',
        ),
        ("INSERT INTO tier (a) VALUES ('it''s', 1.5)", "INSERT tier", "INSERT INTO tier (a) VALUES (?, ?)"),
        (
            "WITH e AS (DELETE FROM x RETURNING id) SELECT 1",
            "DELETE x",
            "WITH e AS (DELETE FROM x RETURNING id) SELECT ?",
        ),
        ("SELECT 'from secret' AS a", "SELECT", "SELECT ? AS a"),
        ("SELECT E'it\\'s secret', a FROM b", "SELECT b", "SELECT ?, a FROM b"),
        ("/* secret /* nested */ */SELECT c1 -- secret\n", "SELECT", " SELECT c1  \n"),
        ("SELECT 1e10, .5, 1_000, a$1$b, $12, 'secret", "SELECT", "SELECT ?, ?, ?, a$1$b, $12, ?"),
        ('SELECT "it\'s".x FROM y', "SELECT y", 'SELECT "it\'s".x FROM y'),
        ("SELECT $tag$ secret $tag$", "SELECT", "SELECT ?"),
        ("COMMIT", "COMMIT", "COMMIT"),
    ],
)
def test_statements_are_shown_without_values(sql: str, summary: str, text: str) -> None:
    assert (shown(sql).summary, shown(sql).text) == (summary, text)
