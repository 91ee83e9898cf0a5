"""Run in a copy of the project that `architecture_changes` has changed: each change works, all of them together."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from app.api import router
from app.core.config import settings
from app.core.setup import create_application

API = "/api/v1"
USER = {"name": "User Userson", "username": "user_son", "email": "user@example.com", "password": "Str1ngst!"}


def migrate() -> None:
    folder = Path(__file__).resolve().parents[2] / "src"
    config = Config(folder / "alembic.ini")
    config.attributes["configure_logger"] = False
    command.upgrade(config, "head")
    command.revision(config, message="changes", autogenerate=True)
    command.upgrade(config, "head")


async def try_users(client: httpx.AsyncClient, app: Any) -> Mapping[str, str]:
    created = await client.post(f"{API}/user", json=USER | {"nickname": "Usi"})
    assert (created.status_code, created.json()["nickname"]) == (201, "Usi"), created.text
    row = await app.state.resources.database.fetch_one(text('SELECT hashed_password FROM "user"'))
    assert row.hashed_password.startswith("$scrypt$"), row
    for password, status in (("wrong password", 401), (USER["password"], 200)):
        login = await client.post(f"{API}/login", data={"username": USER["username"], "password": password})
        assert login.status_code == status, login.text
    nobody = await client.post(f"{API}/login", data={"username": "nobody", "password": "anything"})
    assert nobody.status_code == 401, nobody.text
    headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
    assert (await client.get(f"{API}/user/me/", headers=headers)).json()["nickname"] == "Usi"
    forged = {"Authorization": headers["Authorization"][:-4] + "AAAA"}
    assert (await client.get(f"{API}/user/me/", headers=forged)).status_code == 401
    changed = await client.patch(f"{API}/user/user_son", headers=headers, json={"nickname": "Son"})
    assert changed.status_code == 200, changed.text
    assert (await client.get(f"{API}/user/user_son")).json()["nickname"] == "Son"
    assert (await client.get(f"{API}/users")).json()["data"][0]["nickname"] == "Son"
    taken = await client.post(f"{API}/user", json=USER | {"username": "other"})
    assert taken.json() == {"detail": "This address has an account"}, taken.text
    assert (await client.post(f"{API}/refresh")).status_code == 200
    return headers


async def try_uuid_ids(client: httpx.AsyncClient, app: Any, headers: Mapping[str, str]) -> None:
    await app.state.resources.database.execute(text('UPDATE "user" SET is_superuser = true'))
    created = [await client.post(f"{API}/entity", headers=headers, json={"name": f"Entity {n}"}) for n in range(5)]
    ids = {each.json()["id"] for each in created}
    assert all(len(each) == 36 for each in ids), ids
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await client.get(f"{API}/entities?limit=2{cursor}")).json()
        seen += [each["id"] for each in page["data"]]
        cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
    assert (len(seen), set(seen)) == (5, ids)
    assert (await client.get(f"{API}/entities?page=2&items_per_page=2")).json()["total_count"] == 5
    path = f"{API}/entity/{seen[0]}"
    assert [(await client.get(path)).headers["X-Cache"] for _ in range(2)] == ["miss", "hit"]
    assert (await client.patch(path, headers=headers, json={"note": "Changed."})).status_code == 200
    assert (await client.get(path)).json()["note"] == "Changed."
    assert (await client.delete(path, headers=headers)).status_code == 200
    assert (await client.get(path)).status_code == 404


async def main() -> None:
    app = create_application(router=router, settings=settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://testserver") as client,
    ):
        headers = await try_users(client, app)
        await try_uuid_ids(client, app, headers)
        health = await client.get("/api/v2/health")
        assert health.status_code == 200, health.text
        assert health.headers["X-Frame-Options"] == "SAMEORIGIN"
        assert health.headers["Content-Encoding"] == "gzip"


if __name__ == "__main__":
    migrate()
    asyncio.run(main())
