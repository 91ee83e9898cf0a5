"""Lists by page and by cursor, on every list there is."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.helper import API, Account, Rows

Grow = Callable[[], Awaitable[object]]
AMOUNT = 7


class ListOfRows:
    """A list's path, how to add a row to it, and whether new rows come first."""

    def __init__(self, path: str, grow: Grow, newest_first: bool) -> None:
        self.url = API + path
        self.grow = grow
        self.newest_first = newest_first


@pytest.fixture(params=["users", "posts", "tiers", "rate limits"])
async def listed(request: pytest.FixtureRequest, rows: Rows) -> ListOfRows:
    """Each of the lists with `AMOUNT` rows, and rows that belong to others."""
    kind: str = request.param
    match kind:
        case "users":
            result = ListOfRows("/users", rows.user, False)
        case "tiers":
            result = ListOfRows("/tiers", rows.tier, False)
        case "posts":
            author, other = await rows.user("author"), await rows.user()
            await rows.post(other)
            result = ListOfRows("/author/posts", lambda: rows.post(author), True)
        case "rate limits":
            tier, other_tier = await rows.tier("free"), await rows.tier()
            await rows.rate_limit(other_tier)
            numbers = iter(range(1000))
            result = ListOfRows("/tier/free/rate_limits", lambda: rows.rate_limit(tier, f"path_{next(numbers)}"), False)
    for _ in range(AMOUNT):
        await result.grow()
    return result


async def ids_by_cursor(client: httpx.AsyncClient, url: str, limit: int, between: Grow | None = None) -> list[int]:
    ids: list[int] = []
    query: dict[str, Any] = {"limit": limit}
    while True:
        body = (await client.get(url, params=query)).json()
        assert body.keys() == {"data", "next_cursor", "has_more"}
        assert len(body["data"]) <= limit
        assert body["has_more"] == (body["next_cursor"] is not None)
        ids += [row["id"] for row in body["data"]]
        if not body["has_more"]:
            return ids
        query["cursor"] = body["next_cursor"]
        if between:
            await between()


async def test_pages_cut_the_list_without_gap_or_overlap(client: httpx.AsyncClient, listed: ListOfRows) -> None:
    whole = (await client.get(listed.url, params={"items_per_page": 100})).json()
    pages = [(await client.get(listed.url, params={"page": page, "items_per_page": 3})).json() for page in (1, 2, 3, 4)]

    assert [row for page in pages for row in page["data"]] == whole["data"]
    assert [len(page["data"]) for page in pages] == [3, 3, 1, 0]
    assert [page["has_more"] for page in pages] == [True, True, False, False]
    assert {page["total_count"] for page in pages} == {AMOUNT}
    assert pages[1].keys() == {"data", "total_count", "has_more", "page", "items_per_page"}
    assert (pages[1]["page"], pages[1]["items_per_page"]) == (2, 3)


async def test_the_default_page_has_ten_items(client: httpx.AsyncClient, listed: ListOfRows) -> None:
    for _ in range(4):
        await listed.grow()
    page = (await client.get(listed.url)).json()

    assert (len(page["data"]), page["page"], page["items_per_page"], page["has_more"]) == (10, 1, 10, True)


@pytest.mark.parametrize("limit", [1, 2, 3, AMOUNT - 1, AMOUNT, AMOUNT + 1, 100])
async def test_cursors_walk_the_same_list(client: httpx.AsyncClient, listed: ListOfRows, limit: int) -> None:
    whole = (await client.get(listed.url, params={"items_per_page": 100})).json()["data"]

    assert await ids_by_cursor(client, listed.url, limit) == [row["id"] for row in whole]


async def test_rows_added_meanwhile_cause_no_gap_and_no_repetition(
    client: httpx.AsyncClient, listed: ListOfRows
) -> None:
    whole = (await client.get(listed.url, params={"items_per_page": 100})).json()["data"]
    ids = [row["id"] for row in whole]
    left_to_add = iter(range(AMOUNT - 1))

    async def add_some() -> None:
        if next(left_to_add, None) is not None:
            await listed.grow()

    walked = await ids_by_cursor(client, listed.url, 2, between=add_some)

    assert len(walked) == len(set(walked))
    assert walked[: len(ids)] == ids
    assert listed.newest_first == (len(walked) == len(ids))


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=-1",
        "page=x",
        "page=1.5",
        f"page={2**31}",
        f"page={2**64}",
        "page=" + "9" * 5000,
        "page=",
        "items_per_page=0",
        "items_per_page=101",
        "items_per_page=-5",
        "limit=0",
        "limit=101",
        f"limit={2**64}",
        "limit=20&page=1",
        "limit=20&items_per_page=5",
        "cursor=x",
        "cursor=",
        "limit=2&cursor=x",
        "limit=2&cursor=AAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAA",
        "limit=2&cursor=%00",
        "limit=2&cursor=é",
        "limit=2&cursor=" + "A" * 5000,
    ],
)
async def test_bad_windows_are_refused(client: httpx.AsyncClient, listed: ListOfRows, query: str) -> None:
    response = await client.get(f"{listed.url}?{query}")

    assert response.status_code == 422
    assert len(response.content) < 1000


async def test_the_last_possible_page_is_empty(client: httpx.AsyncClient, listed: ListOfRows) -> None:
    response = await client.get(listed.url, params={"page": 2**31 - 1, "items_per_page": 100})

    assert (response.status_code, response.json()["data"], response.json()["total_count"]) == (200, [], AMOUNT)


async def test_a_cursor_is_good_for_its_own_list_only(client: httpx.AsyncClient, rows: Rows) -> None:
    for _ in range(3):
        await rows.user()
        await rows.tier()
    cursor = (await client.get(f"{API}/users", params={"limit": 1})).json()["next_cursor"]
    swapped = await client.get(f"{API}/tiers", params={"limit": 1, "cursor": cursor})
    changed = await client.get(f"{API}/users", params={"limit": 1, "cursor": "B" + cursor[1:]})

    assert (swapped.status_code, swapped.json()) == (422, {"detail": "Invalid cursor"})
    assert changed.status_code == 422


async def test_an_empty_list_has_no_next_cursor(client: httpx.AsyncClient, rows: Rows) -> None:
    empty: dict[str, Any] = {"data": [], "next_cursor": None, "has_more": False}

    assert (await client.get(f"{API}/users", params={"limit": 5})).json() == empty


async def test_deleting_while_walking(client: httpx.AsyncClient, rows: Rows) -> None:
    """The row of a cursor may be deleted; the next page continues after it."""
    accounts: list[Account] = [await rows.user() for _ in range(4)]
    first = (await client.get(f"{API}/users", params={"limit": 2})).json()
    await asyncio.gather(
        *(client.delete(f"{API}/user/{account.username}", headers=account.headers) for account in accounts[:2])
    )
    second = (await client.get(f"{API}/users", params={"limit": 2, "cursor": first["next_cursor"]})).json()

    assert [row["id"] for row in second["data"]] == [account.user.id for account in accounts[2:]]


async def test_windows_of_long_posts_are_bounded_in_bytes(client: httpx.AsyncClient, rows: Rows) -> None:
    """A cursor reaches every post; a page by number has `has_more`, and smaller pages reach the rest."""
    author = await rows.user("author")
    created = [(await rows.post(author, text="é" * 63_206)).id for _ in range(20)]
    url = f"{API}/author/posts"

    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        response = await client.get(f"{url}?limit=100&cursor={cursor}" if cursor else f"{url}?limit=100")
        assert len(response.content) < 2_000_000
        body = response.json()
        assert body["has_more"] == (body["next_cursor"] is not None)
        seen += [post["id"] for post in body["data"]]
        cursor = body["next_cursor"]
    assert seen == created[::-1]

    page = (await client.get(f"{url}?page=1&items_per_page=100")).json()
    assert 0 < len(page["data"]) < 20
    assert (page["total_count"], page["has_more"]) == (20, True)
    pages = [(await client.get(f"{url}?page={number}&items_per_page=5")).json() for number in range(1, 5)]
    assert [post["id"] for each in pages for post in each["data"]] == created[::-1]
