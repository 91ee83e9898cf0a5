"""Requests to the API of the version in the current folder, which runs in this process.

python calls.py shop      writes users, a tier with a rate limit and posts, and prints an access token
python calls.py products  writes products
python calls.py read      prints what everybody, and the bearer of the token in ACCESS_TOKEN, can see of them
"""

import asyncio
import json
import os
import sys
from typing import Any

import httpx

from app.core.config import settings
from app.main import app

API = "/api/v1"
NAMES = [f"customer{number}" for number in range(12)]
PASSWORD = "Str1ngst!"  # noqa: S105 - of a temporary database


async def _json(client: httpx.AsyncClient, method: str, path: str, **options: Any) -> Any:
    response = await client.request(method, f"{API}{path}", **options)
    if not response.is_success:
        raise SystemExit(f"{method} {path}: {response.status_code} {response.text}")
    return response.json()


async def _login(client: httpx.AsyncClient, username: str, password: str) -> dict[str, str]:
    token = await _json(client, "POST", "/login", data={"username": username, "password": password})
    return {"Authorization": f"Bearer {token['access_token']}"}


async def _write_shop(client: httpx.AsyncClient) -> str:
    for name in NAMES:
        user = {"name": name.title(), "username": name, "email": f"{name}@example.com", "password": PASSWORD}
        await _json(client, "POST", "/user", json=user)
    admin = await _login(client, settings.ADMIN_USERNAME, settings.ADMIN_PASSWORD)
    tier = await _json(client, "POST", "/tier", json={"name": "gold"}, headers=admin)
    limit = {"path": "api/v1/tasks/task", "limit": 7, "period": 60}
    await _json(client, "POST", "/tier/gold/rate_limit", json=limit, headers=admin)
    await _json(client, "PATCH", f"/user/{NAMES[0]}/tier", json={"tier_id": tier["id"]}, headers=admin)
    for name in NAMES[:3]:
        headers = await _login(client, name, PASSWORD)
        await _json(client, "POST", f"/{name}/post", json={"title": "A title", "text": "A text"}, headers=headers)
    await _json(client, "DELETE", f"/user/{NAMES[-1]}", headers=await _login(client, NAMES[-1], PASSWORD))
    return (await _login(client, NAMES[0], PASSWORD))["Authorization"]


async def _write_products(client: httpx.AsyncClient) -> str:
    for name in NAMES[:3]:
        headers = await _login(client, name, PASSWORD)
        for number in range(4):
            product = {"title": f"Thing {number}", "price": "9.50", "released": "2026-01-31"}
            await _json(client, "POST", f"/{name}/product", json=product, headers=headers)
    return ""


async def _read(client: httpx.AsyncClient) -> str:
    paths = ["/users?limit=100", "/tiers", "/tier/gold/rate_limits", f"/user/{NAMES[0]}/tier"]
    seen = {path: await _json(client, "GET", path) for path in [*paths, *(f"/{name}/products" for name in NAMES[:3])]}
    seen["login"] = bool(await _login(client, NAMES[1], PASSWORD))
    seen["me"] = await _json(client, "GET", "/user/me/", headers={"Authorization": os.environ["ACCESS_TOKEN"]})
    return json.dumps(seen, indent=1)


async def main(action: str) -> None:
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://testserver") as client,
    ):
        print(await {"shop": _write_shop, "products": _write_products, "read": _read}[action](client))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
