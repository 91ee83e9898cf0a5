"""Tiers, and the rules and users that hang on them."""

import asyncio
from urllib.parse import quote

import httpx
import pytest

from tests.helper import API, Account, Rows
from tests.support import authorization as may
from tests.support.authorization import PathValues


async def arrange(client: httpx.AsyncClient, rows: Rows, owner: Account) -> PathValues:
    return {"name": (await rows.tier("free")).name}


AUTHORIZATION = may.Table(
    may.superuser("POST", "/tier", 201, json={"name": "pro"}),
    may.anyone("GET", "/tiers"),
    may.anyone("GET", "/tier/{name}"),
    may.superuser("PATCH", "/tier/{name}", json={"name": "gold"}),
    may.superuser("DELETE", "/tier/{name}"),
    arrange=arrange,
)


@pytest.fixture
async def root(rows: Rows) -> Account:
    return await rows.superuser()


async def test_create_and_read(client: httpx.AsyncClient, root: Account) -> None:
    created = await client.post(f"{API}/tier", headers=root.headers, json={"name": "free"})

    assert created.status_code == 201
    assert created.json().keys() == {"id", "name", "created_at"}
    assert (await client.get(f"{API}/tier/free")).json() == created.json()
    assert (await client.get(f"{API}/tiers")).json()["data"] == [created.json()]


@pytest.mark.parametrize("name", ["a b", "日本", "a.b", "100%", "é", "?&#", "x" * 50])
async def test_any_printable_name_is_found_again(client: httpx.AsyncClient, root: Account, name: str) -> None:
    await client.post(f"{API}/tier", headers=root.headers, json={"name": name})

    assert (await client.get(f"{API}/tier/{quote(name)}")).json()["name"] == name


@pytest.mark.parametrize("name", ["", "x" * 51, "a/b", "a\nb", "a\x00b", "a\u202eb", None, 1])
async def test_other_names_are_refused(client: httpx.AsyncClient, root: Account, name: object) -> None:
    response = await client.post(f"{API}/tier", headers=root.headers, json={"name": name})

    assert response.status_code == 422


async def test_of_simultaneous_identical_creations_one_succeeds(client: httpx.AsyncClient, root: Account) -> None:
    responses = await asyncio.gather(
        *(client.post(f"{API}/tier", headers=root.headers, json={"name": "free"}) for _ in range(8))
    )

    assert sorted(response.status_code for response in responses) == [201] + [422] * 7
    assert {response.json()["detail"] for response in responses if response.status_code == 422} == {
        "Tier Name not available"
    }


async def test_update(client: httpx.AsyncClient, rows: Rows, root: Account) -> None:
    await rows.tier("free")
    await rows.tier("pro")
    url = f"{API}/tier/free"

    taken = await client.patch(url, headers=root.headers, json={"name": "pro"})
    empty = await client.patch(url, headers=root.headers, json={})
    unknown = await client.patch(f"{API}/tier/none", headers=root.headers, json={})
    renamed = await client.patch(url, headers=root.headers, json={"name": "basic"})

    assert (taken.status_code, taken.json()) == (422, {"detail": "Tier Name not available"})
    assert (empty.status_code, empty.json()) == (200, {"message": "Tier updated"})
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "Tier not found"})
    assert renamed.status_code == 200
    assert (await client.get(url)).status_code == 404
    assert (await client.get(f"{API}/tier/basic")).status_code == 200


async def test_deletion_takes_the_rules_and_frees_the_users(
    client: httpx.AsyncClient, rows: Rows, root: Account
) -> None:
    tier, account = await rows.tier("free"), await rows.user("userson")
    await rows.rate_limit(tier)
    await rows.join_tier(account, tier)
    response = await client.delete(f"{API}/tier/free", headers=root.headers)
    again = await client.delete(f"{API}/tier/free", headers=root.headers)

    assert (response.status_code, response.json()) == (200, {"message": "Tier deleted"})
    assert (again.status_code, again.json()) == (404, {"detail": "Tier not found"})
    assert (await client.get(f"{API}/user/userson")).json()["tier_id"] is None
    assert (await client.get(f"{API}/user/userson/tier")).json() is None
    assert (await client.get(f"{API}/tier/free/rate_limits")).status_code == 404
    reborn = await rows.tier("free")
    assert (await client.get(f"{API}/tier/{reborn.name}/rate_limits")).json()["data"] == []
