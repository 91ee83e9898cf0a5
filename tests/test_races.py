"""Concurrent requests for the same rows get only documented responses."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx

from tests.helper import API, Account, Rows

ROUNDS = 25
ALLOWED = {200, 201, 401, 403, 404, 422, 503}


async def test_concurrent_changes_of_the_same_rows(client: httpx.AsyncClient, rows: Rows) -> None:
    """Rows are written and given while what they belong to is removed, names swapped."""
    chance = random.Random(7)
    root = await rows.superuser()
    seen: Counter[int] = Counter()
    for number in range(ROUNDS):
        account, tier = await rows.user(f"user{number}round"), await rows.tier(f"tier{number}")
        await rows.rate_limit(tier)
        requests = all_at_once(client, account, root, tier.name, tier.id)
        chance.shuffle(requests)
        for response in await asyncio.gather(*(client.send(request) for request in requests)):
            seen[response.status_code] += 1
            assert response.status_code in ALLOWED, response.text

    assert seen[200] > ROUNDS
    assert seen[503] < ROUNDS, "a lost race is the exception"


def all_at_once(
    client: httpx.AsyncClient, account: Account, root: Account, tier: str, tier_id: int
) -> list[httpx.Request]:
    name, mine, theirs = account.username, account.headers, root.headers
    post = {"title": "A title", "text": "A text"}
    rule = {"path": "api/v1/users", "limit": 1, "period": 1}

    def ask(method: str, path: str, headers: Mapping[str, str], json: Any = None) -> httpx.Request:
        return client.build_request(method, API + path, headers=headers, json=json)

    return [
        *(ask("POST", f"/{name}/post", mine, post) for _ in range(3)),
        *(ask("PATCH", f"/user/{name}/tier", theirs, {"tier_id": tier_id}) for _ in range(2)),
        ask("PATCH", f"/user/{name}", mine, {"username": f"{name}x"}),
        ask("PATCH", f"/user/{name}", mine, {"username": f"{name}y"}),
        ask("DELETE", f"/user/{name}", mine),
        ask("DELETE", f"/db_user/{name}", theirs),
        ask("POST", f"/tier/{tier}/rate_limit", theirs, rule),
        ask("PATCH", f"/tier/{tier}/rate_limit/1", theirs, {"limit": 3}),
        ask("PATCH", f"/tier/{tier}", theirs, {"name": f"{tier} renamed"}),
        ask("DELETE", f"/tier/{tier}", theirs),
        ask("GET", f"/{name}/posts", mine),
        ask("GET", f"/user/{name}/tier", mine),
        ask("POST", "/logout", {**mine, "Cookie": f"refresh_token={account.refresh_token}"}),
        *(ask("POST", "/refresh", {"Cookie": f"refresh_token={account.refresh_token}"}) for _ in range(2)),
    ]
