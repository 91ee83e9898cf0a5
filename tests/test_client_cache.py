"""The headers for client caches, and conditional requests."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import StreamingResponse

from app.middleware.client_cache_middleware import ClientCacheMiddleware
from tests.helper import API, Rows


@pytest.fixture
async def plain() -> AsyncIterator[httpx.AsyncClient]:
    """An application with nothing but the middleware."""
    router = APIRouter()

    @router.get("/explicit")
    async def explicit(response: Response) -> str:
        response.headers["Cache-Control"] = "private, max-age=5"
        return "mine"

    @router.get("/cookie")
    async def cookie(response: Response) -> str:
        response.set_cookie("name", "value")
        return "yours"

    @router.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            for part in ("one", "two"):
                yield part

        return StreamingResponse(parts())

    app = FastAPI()
    app.include_router(router)
    app.add_middleware(ClientCacheMiddleware, max_age=60)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://testserver") as client:
        yield client


async def test_a_public_response(client: httpx.AsyncClient) -> None:
    response = await client.get(f"{API}/users")
    assert response.headers["Cache-Control"] == "public, max-age=60"
    assert response.headers["Vary"] == "Authorization"
    assert response.headers["ETag"].startswith('"')


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer x"}, {"Cookie": "refresh_token=x"}])
async def test_a_response_to_credentials(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    response = await client.get(f"{API}/users", headers=headers)
    assert (response.status_code, response.headers["Cache-Control"]) == (200, "private, no-store")


async def test_errors_and_changes(client: httpx.AsyncClient, rows: Rows) -> None:
    account = await rows.user()
    path = f"{API}/user/{account.username}"
    changed = await client.patch(path, json={"name": "Another"}, headers=account.headers)
    responses = [await client.get(f"{API}/user/nobody"), changed, await client.get(f"{API}/user/me")]
    assert [response.status_code for response in responses] == [404, 200, 401]
    assert [response.headers["Cache-Control"] for response in responses] == ["no-store"] * 3


async def test_the_routes_own_header_wins(plain: httpx.AsyncClient) -> None:
    assert (await plain.get("/explicit")).headers["Cache-Control"] == "private, max-age=5"


async def test_a_response_that_sets_a_cookie(plain: httpx.AsyncClient) -> None:
    assert (await plain.get("/cookie")).headers["Cache-Control"] == "private, no-store"


async def test_a_stream_is_passed_on(plain: httpx.AsyncClient) -> None:
    """Its bytes are not known in advance: it has no ETag."""
    response = await plain.get("/stream")
    assert response.text == "onetwo"
    assert "ETag" not in response.headers


@pytest.mark.parametrize("condition", ["{}", "W/{}", '"other", {}', "*"])
async def test_what_the_client_has_is_not_sent_again(client: httpx.AsyncClient, rows: Rows, condition: str) -> None:
    """Both for a cached and for a new response."""
    path = f"{API}/user/{(await rows.user()).username}"
    etag = (await client.get(path)).headers["ETag"]
    response = await client.get(path, headers={"If-None-Match": condition.format(etag)})
    assert (response.status_code, response.content, response.headers["ETag"]) == (304, b"", etag)
    assert response.headers["Cache-Control"] == "public, max-age=60"
    assert "Content-Length" not in response.headers


async def test_a_change_changes_the_etag(client: httpx.AsyncClient, rows: Rows) -> None:
    account = await rows.user()
    path = f"{API}/user/{account.username}"
    etag = (await client.get(path)).headers["ETag"]
    await client.patch(path, json={"name": "Another"}, headers=account.headers)
    assert (await client.get(path, headers={"If-None-Match": etag})).status_code == 200


async def test_head_is_get_without_the_body(client: httpx.AsyncClient) -> None:
    get, head = await client.get(f"{API}/users"), await client.head(f"{API}/users")
    assert (head.status_code, head.content) == (200, b"")
    assert {name: head.headers[name] for name in ("ETag", "Content-Length", "Cache-Control")} == {
        name: get.headers[name] for name in ("ETag", "Content-Length", "Cache-Control")
    }
