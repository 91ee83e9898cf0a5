"""The OpenAPI document as tests read it: its operations, and requests made from their examples."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import quote

import httpx
from fastapi import FastAPI

from app.api import router
from app.api.docs import Application
from app.api.responses import NOT_SUPERUSER
from tests.helper import API, Rows

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
BEGINNING = (
    "POST /user",
    "POST /login",
    "POST /tier",
    "PATCH /user/{username}/tier",
    "POST /tier/{tier_name}/rate_limit",
    "POST /{username}/post",
)
"""The requests that create what the examples name, in order: each sends its own example."""


def _first(examples: dict[str, Any]) -> Any:
    return next(iter(examples.values()))["value"]


@dataclass(frozen=True)
class Operation:
    """One operation of the document; its name is `PATCH /tier/{name}`."""

    method: str
    path: str
    content: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method.upper()} {self.path.removeprefix(API)}"

    @property
    def success(self) -> tuple[int, Any]:
        """Its status, and its first example."""
        status, response = next(iter(self.content["responses"].items()))
        content = response["content"][JSON]
        return int(status), content["example"] if "example" in content else _first(content["examples"])

    @property
    def errors(self) -> Iterator[tuple[int, str, Any]]:
        """Status, name and value of each example of an error."""
        for status, response in self.content["responses"].items():
            if status >= "400":
                for name, example in response["content"][JSON]["examples"].items():
                    yield int(status), name, example["value"]

    @property
    def creates_from_json(self) -> bool:
        return self.success[0] == 201 and JSON in self.content.get("requestBody", {}).get("content", {})

    @property
    def is_for_superusers(self) -> bool:
        return any(value == {"detail": NOT_SUPERUSER.detail} for _, _, value in self.errors)


@cache
def read_document() -> dict[str, Any]:
    app = Application(title="Tests")
    app.include_router(router)
    return app.openapi()


def operations(document: dict[str, Any]) -> dict[str, Operation]:
    """By name."""
    paths = document["paths"].items()
    found = [Operation(method, path, content) for path, methods in paths for method, content in methods.items()]
    return {operation.name: operation for operation in found}


OPERATIONS = operations(read_document())
_CREATIONS = [name for name, operation in OPERATIONS.items() if operation.creates_from_json]
OTHER_CREATIONS = [name for name in _CREATIONS if name not in BEGINNING]
"""Those of entities of your own: this file needs no change for their examples."""


@dataclass
class Call:
    """A request that a test may change before it sends it."""

    method: str
    template: str
    path: dict[str, Any] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    json: Any = None
    form: Any = None
    content: bytes | None = None

    @classmethod
    def of(cls, operation: Operation) -> "Call":
        """The operation's examples: of its body, and of the parameters that are required."""
        call = cls(operation.method, operation.path)
        for parameter in operation.content.get("parameters", ()):
            if parameter["required"]:
                {"path": call.path, "query": call.query}[parameter["in"]][parameter["name"]] = parameter["example"]
        content = operation.content.get("requestBody", {}).get("content", {})
        call.json = dict(content[JSON]["example"]) if JSON in content else None
        call.form = dict(content[FORM]["example"]) if FORM in content else None
        return call

    async def send(self, client: httpx.AsyncClient) -> httpx.Response:
        client.cookies.clear()
        url = self.template.format(**{name: quote(str(value), safe="") for name, value in self.path.items()})
        body = {"content": self.content} if self.content is not None else {"json": self.json, "data": self.form}
        return await client.request(self.method, url, params=self.query, headers=self.headers, **body)


class World:
    """What the examples name: a user, and rows of the other entities."""

    def __init__(self, application: FastAPI, client: httpx.AsyncClient, rows: Rows) -> None:
        self.application = application
        self.client = client
        self.rows = rows
        self.owner: dict[str, str] = {}
        self.superuser: dict[str, str] = {}
        self.refresh_token = ""

    async def build(self, before: str) -> None:
        for name in BEGINNING:
            if name == before:
                return
            response = await self.call(OPERATIONS[name]).send(self.client)
            assert response.is_success, (name, response.text)
            await self._remember(name, response)
        await self._create_others(before)
        queue = self.application.state.resources.queue
        task_id = OPERATIONS["GET /tasks/task/{task_id}"].content["parameters"][0]["example"]
        await queue.enqueue_job("sample_background_task", "hello", _job_id=task_id)

    async def _create_others(self, before: str) -> None:
        """In any order: a request that refers to another's row gets 404 until there is that row."""
        waiting = [name for name in OTHER_CREATIONS if name != before]
        while waiting:
            responses = {name: await self.call(OPERATIONS[name]).send(self.client) for name in waiting}
            failed = {name: response.text for name, response in responses.items() if not response.is_success}
            if len(failed) == len(waiting):
                assert before in OTHER_CREATIONS, failed
                return
            waiting = list(failed)

    async def _remember(self, name: str, response: httpx.Response) -> None:
        if name == "POST /login":
            self.owner = {"Authorization": f"Bearer {response.json()['access_token']}"}
            self.refresh_token = response.cookies["refresh_token"]
            self.superuser = dict((await self.rows.superuser()).headers)

    def call(self, operation: Operation) -> Call:
        """The operation's example, sent by a permitted caller."""
        call = Call.of(operation)
        if operation.is_for_superusers:
            call.headers |= self.superuser
        elif "security" in operation.content and {} not in operation.content["security"]:
            call.headers |= self.owner
        if any(parameter["name"] == "refresh_token" for parameter in operation.content.get("parameters", ())):
            call.headers["Cookie"] = f"refresh_token={self.refresh_token}"
        return call
