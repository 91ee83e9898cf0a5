"""One request of a client, to a random server, with its outcome classified."""

import random
from collections.abc import Sequence
from typing import Any

import httpx

from dev.chaos.report import Report

TIMEOUT_SECONDS = 20.0
SERVICE_UNAVAILABLE = 503


class Api:
    """The two web servers as the clients see them."""

    def __init__(self, client: httpx.AsyncClient, urls: Sequence[str], report: Report, rng: random.Random) -> None:
        self.client = client
        self.urls = urls
        self.report = report
        self.rng = rng

    async def call(
        self, kind: str, method: str, path: str, token: str | None = None, **options: Any
    ) -> httpx.Response | None:
        """The response; None if there is none, or a 5xx: a write may or may not have happened then."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= options.pop("headers", {})
        self.report.operations[kind] += 1
        try:
            response = await self.client.request(
                method, f"{self.rng.choice(self.urls)}{path}", headers=headers, **options
            )
        except httpx.HTTPError:
            self.report.unanswered += 1
            return None
        self.report.statuses[response.status_code] += 1
        if not response.is_server_error:
            return response
        if response.status_code != SERVICE_UNAVAILABLE:
            self.report.violate("5xx other than 503", f"{response.status_code} {method} {path}: {response.text[:200]}")
        return None

    async def log_in(self, username: str, password: str) -> httpx.Response | None:
        response = await self.call("log in", "POST", "/login", data={"username": username, "password": password})
        return response if response and response.is_success else None
