"""Clients that submit tasks: one at a limited route, one that repeats each submission until it is accepted."""

import asyncio
import time
from dataclasses import dataclass, field
from uuid import uuid4

from dev.chaos.api import Api
from dev.chaos.cluster import ADMIN, LIMIT, PERIOD

SUBMIT_SECONDS = 2.0
COMPLETION_SECONDS = 120.0
CREATED, TOO_MANY = 201, 429


@dataclass
class Bucket:
    """The admissions of one caller: when each request was sent and when its response came, in seconds."""

    name: str
    token: str | None = None
    admissions: list[tuple[float, float]] = field(default_factory=list)

    def over_admissions(self) -> int:
        """Windows that certainly held more than the limit, wherever within its request each admission was."""
        return sum(
            sum(sent >= start and received < start + PERIOD for sent, received in self.admissions) > LIMIT
            for start, _ in self.admissions
        )


class LimitedClient:
    """Calls a limited route far more often than it may."""

    def __init__(self, api: Api, bucket: Bucket) -> None:
        self._api = api
        self.bucket = bucket
        self.tasks: list[str] = []

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.submit()
            await asyncio.sleep(0.1)

    async def submit(self) -> None:
        sent = time.monotonic()
        response = await self._api.call("limited task", "POST", "/tasks/task?message=chaos", self.bucket.token)
        if response is None or response.status_code == TOO_MANY:
            return
        if response.status_code != CREATED:
            example = f"{response.status_code} limited task: {response.text[:200]}"
            self._api.report.violate("unexpected response", example)
            return
        self.bucket.admissions.append((sent, time.monotonic()))
        self.tasks.append(response.json()["id"])

    def verify(self) -> None:
        for _ in range(self.bucket.over_admissions()):
            self._api.report.violate("over-admission", f"more than {LIMIT} in {PERIOD} s for {self.bucket.name}")


class TaskClient:
    """Submits tasks with an idempotency key, again and again until each is accepted."""

    def __init__(self, api: Api, token: str) -> None:
        self._api = api
        self._token = token
        self.tasks: list[str] = []

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            key = {"Idempotency-Key": uuid4().hex}
            while not stop.is_set():
                response = await self._api.call("task", "POST", "/tasks/task?message=chaos", self._token, headers=key)
                if response is not None and response.status_code == CREATED:
                    self.tasks.append(response.json()["id"])
                    break
                await asyncio.sleep(0.2)
            await asyncio.sleep(SUBMIT_SECONDS)


async def verify_tasks(api: Api, token: str, tasks: list[str]) -> None:
    """Every accepted task is complete within a bounded time after the last fault."""
    deadline = time.monotonic() + COMPLETION_SECONDS + len(tasks) / 2
    for task in tasks:
        status = "unknown"
        while status != "complete" and time.monotonic() < deadline:
            response = await api.call("read task", "GET", f"/tasks/task/{task}", token)
            if response is not None:
                status = response.json().get("status", str(response.status_code))
            if status != "complete":
                await asyncio.sleep(0.5)
        if status != "complete":
            api.report.violate("lost task", f"{task}: {status}")


async def prepare(api: Api) -> tuple[str, str, str]:
    """Tokens: of the superuser, of a user with a rule of `LIMIT` in `PERIOD`, and of one with a rule without effect."""
    admin = await api.log_in(ADMIN["username"], ADMIN["password"])
    if admin is None:
        raise RuntimeError("the superuser cannot log in")
    root = admin.json()["access_token"]
    tokens = []
    for name, limit, period in (("limited", LIMIT, PERIOD), ("unlimited", 1_000_000, 1)):
        body = {"name": "Chaos", "username": name, "email": f"{name}@example.com", "password": ADMIN["password"]}
        await api.call("prepare", "POST", "/user", json=body)
        tier = await api.call("prepare", "POST", "/tier", root, json={"name": name})
        if tier is None:
            raise RuntimeError(f"the tier {name} cannot be created")
        rule = {"path": "api/v1/tasks/task", "limit": limit, "period": period}
        await api.call("prepare", "POST", f"/tier/{name}/rate_limit", root, json=rule)
        await api.call("prepare", "PATCH", f"/user/{name}/tier", root, json={"tier_id": tier.json()["id"]})
        login = await api.log_in(name, ADMIN["password"])
        if login is None:
            raise RuntimeError(f"{name} cannot log in")
        tokens.append(login.json()["access_token"])
    return root, tokens[0], tokens[1]
