"""The endpoints that keep a tier's rules."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.helper import API, Account, Rows
from tests.support import authorization as may
from tests.support.authorization import PathValues

RULE = {"path": "api/v1/reports", "limit": 10, "period": 3600}


async def arrange(client: httpx.AsyncClient, rows: Rows, owner: Account) -> PathValues:
    tier = await rows.tier("free")
    rule = await rows.rate_limit(tier, path="api_v1_users")
    return {"tier_name": tier.name, "id": rule.id}


AUTHORIZATION = may.Table(
    may.superuser("POST", "/tier/{tier_name}/rate_limit", 201, json=RULE),
    may.anyone("GET", "/tier/{tier_name}/rate_limits"),
    may.anyone("GET", "/tier/{tier_name}/rate_limit/{id}"),
    may.superuser("PATCH", "/tier/{tier_name}/rate_limit/{id}", json={"limit": 7}),
    may.superuser("DELETE", "/tier/{tier_name}/rate_limit/{id}"),
    arrange=arrange,
)


@pytest.fixture
async def root(rows: Rows) -> Account:
    await rows.tier("free")
    return await rows.superuser()


async def create(client: httpx.AsyncClient, root: Account, tier: str = "free", **changes: Any) -> httpx.Response:
    return await client.post(f"{API}/tier/{tier}/rate_limit", headers=root.headers, json=RULE | changes)


async def test_create_names_the_rule_after_its_content(client: httpx.AsyncClient, root: Account) -> None:
    created = await create(client, root)

    assert created.status_code == 201
    assert created.json() == {
        "id": 1,
        "tier_id": 1,
        "name": "api_v1_reports:10:3600",
        "path": "api_v1_reports",
        "limit": 10,
        "period": 3600,
    }
    assert (await client.get(f"{API}/tier/free/rate_limit/1")).json() == created.json()
    assert (await client.get(f"{API}/tier/free/rate_limits")).json()["data"] == [created.json()]


@pytest.mark.parametrize("path", ["api/v1/reports", "/api/v1/reports", "api_v1_reports", "api/v1/reports/"])
async def test_one_path_has_one_rule_however_it_is_written(client: httpx.AsyncClient, root: Account, path: str) -> None:
    await create(client, root, name="first")
    second = await create(client, root, name="second", path=path)

    assert second.status_code == 422


async def test_a_name_is_taken_once_in_a_tier(client: httpx.AsyncClient, rows: Rows, root: Account) -> None:
    await rows.tier("pro")
    await create(client, root, name="mine")
    again = await create(client, root, name="mine", path="api/v1/users")
    elsewhere = await create(client, root, tier="pro", name="mine")

    assert (again.status_code, again.json()) == (422, {"detail": "Rate Limit Name not available"})
    assert elsewhere.status_code == 201


async def test_of_simultaneous_identical_creations_one_succeeds(client: httpx.AsyncClient, root: Account) -> None:
    responses = await asyncio.gather(*(create(client, root) for _ in range(8)))

    assert sorted(response.status_code for response in responses) == [201] + [422] * 7
    details = {response.json()["detail"] for response in responses if response.status_code == 422}
    assert details == {"Rate Limit Name not available"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": ""},
        {"path": "/"},
        {"path": "x" * 256},
        {"path": "a\x00b"},
        {"limit": 0},
        {"limit": -1},
        {"limit": 2**31},
        {"limit": 1.5},
        {"limit": None},
        {"period": 0},
        {"period": 2**31},
        {"name": ""},
        {"name": "a\x00b"},
        {"name": "x" * 301},
        {"tier_id": 2},
    ],
    ids=lambda wrong: str(wrong)[:30],
)
async def test_invalid_rules_are_refused(client: httpx.AsyncClient, root: Account, wrong: dict[str, Any]) -> None:
    created = await create(client, root, **wrong)
    await create(client, root)
    updated = await client.patch(f"{API}/tier/free/rate_limit/1", headers=root.headers, json=wrong)

    assert created.status_code == updated.status_code == 422


async def test_a_path_that_no_route_has_is_accepted(client: httpx.AsyncClient, root: Account) -> None:
    assert (await create(client, root, path="api/v1/tomorrow")).status_code == 201


async def test_update(client: httpx.AsyncClient, rows: Rows, root: Account) -> None:
    await create(client, root)
    await create(client, root, path="api/v1/users")
    url = f"{API}/tier/free/rate_limit/1"

    changed = await client.patch(url, headers=root.headers, json={"limit": 7, "path": "/api/v1/user/me"})
    taken = await client.patch(url, headers=root.headers, json={"name": "api_v1_users:10:3600"})
    empty = await client.patch(url, headers=root.headers, json={})

    assert (changed.status_code, changed.json()) == (200, {"message": "Rate Limit updated"})
    assert (taken.status_code, taken.json()) == (422, {"detail": "Rate Limit Name not available"})
    assert empty.status_code == 200
    read = (await client.get(url)).json()
    assert (read["limit"], read["path"], read["name"]) == (7, "api_v1_user_me", "api_v1_reports:10:3600")


async def test_another_tiers_rule_is_not_found(client: httpx.AsyncClient, rows: Rows, root: Account) -> None:
    await create(client, root)
    await rows.tier("pro")
    for tier, detail in (("pro", "Rate Limit not found"), ("none", "Tier not found")):
        url = f"{API}/tier/{tier}/rate_limit/1"
        responses = [
            await client.get(url),
            await client.patch(url, headers=root.headers, json={}),
            await client.patch(url, headers=root.headers, json={"limit": 1}),
            await client.delete(url, headers=root.headers),
        ]
        assert [(response.status_code, response.json()) for response in responses] == [(404, {"detail": detail})] * 4


async def test_delete(client: httpx.AsyncClient, root: Account) -> None:
    await create(client, root)
    url = f"{API}/tier/free/rate_limit/1"
    deleted = await client.delete(url, headers=root.headers)

    assert (deleted.status_code, deleted.json()) == (200, {"message": "Rate Limit deleted"})
    assert (await client.delete(url, headers=root.headers)).status_code == 404
    assert (await create(client, root)).status_code == 201
