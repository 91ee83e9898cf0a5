"""Users: one class per operation, in the order of the contract. Copy this structure for an entity of your own."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from app.api import router
from app.core.setup import create_application
from app.crud.crud_users import crud_users
from app.models.user import User
from tests.conftest import Services
from tests.helper import API, PASSWORD, Account, Rows, running
from tests.support import authorization as may
from tests.support.authorization import PathValues

NEW_USER = {"name": "User Userson", "username": "userson", "email": "user.userson@example.com", "password": PASSWORD}
PASSWORDS = {"current_password": PASSWORD, "new_password": "another password"}


async def arrange(client: httpx.AsyncClient, rows: Rows, owner: Account) -> PathValues:
    await rows.tier("free")
    return {"username": owner.username}


AUTHORIZATION = may.Table(
    may.anyone("POST", "/user", 201, json=NEW_USER),
    may.anyone("GET", "/users"),
    may.user("GET", "/user/me"),
    may.user("GET", "/user/me/"),
    may.anyone("GET", "/user/{username}"),
    may.owner("PATCH", "/user/{username}", json={"name": "Renamed"}),
    may.owner("PATCH", "/user/{username}/password", json=PASSWORDS),
    may.owner("DELETE", "/user/{username}"),
    may.superuser("DELETE", "/db_user/{username}"),
    may.superuser("GET", "/user/{username}/rate_limits"),
    may.anyone("GET", "/user/{username}/tier"),
    may.superuser("PATCH", "/user/{username}/tier", json={"tier_id": 1}),
    arrange=arrange,
)


async def stored(rows: Rows, username: str) -> Any:
    return await rows.database.fetch_one(select(User.__table__).where(User.username == username))


class TestCreate:
    async def test_returns_the_public_fields(self, client: httpx.AsyncClient) -> None:
        response = await client.post(f"{API}/user", json=NEW_USER)

        assert response.status_code == 201
        assert response.json() == {
            "id": 1,
            "name": "User Userson",
            "username": "userson",
            "email": "user.userson@example.com",
            "profile_image_url": "https://profileimageurl.com",
            "tier_id": None,
        }

    async def test_stores_the_hash_and_never_the_password(self, client: httpx.AsyncClient, rows: Rows) -> None:
        await client.post(f"{API}/user", json=NEW_USER)

        row = await stored(rows, "userson")
        assert row.hashed_password.startswith("$2b$")
        assert PASSWORD not in str(row)

    async def test_emails_are_the_same_in_any_case(self, client: httpx.AsyncClient) -> None:
        first = await client.post(f"{API}/user", json=NEW_USER | {"email": "User.Userson@EXAMPLE.com"})
        second = await client.post(f"{API}/user", json=NEW_USER | {"username": "other"})

        assert first.json()["email"] == "user.userson@example.com"
        assert (second.status_code, second.json()) == (422, {"detail": "Email is already registered"})

    async def test_a_username_is_taken_once(self, client: httpx.AsyncClient) -> None:
        await client.post(f"{API}/user", json=NEW_USER)
        response = await client.post(f"{API}/user", json=NEW_USER | {"email": "other@example.com"})

        assert (response.status_code, response.json()) == (422, {"detail": "Username not available"})

    async def test_names_stay_taken_after_a_soft_deletion(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account = await rows.user("userson")
        await client.delete(f"{API}/user/userson", headers=account.headers)
        response = await client.post(f"{API}/user", json=NEW_USER)
        assert (response.status_code, response.json()) == (422, {"detail": "Username not available"})

        root = await rows.superuser()
        await client.delete(f"{API}/db_user/userson", headers=root.headers)
        assert (await client.post(f"{API}/user", json=NEW_USER)).status_code == 201

    @pytest.mark.parametrize("username", ["user", "users", "me", "tier", "tiers", "tasks", "login", "health", "post"])
    async def test_names_that_routes_need_are_not_available(self, client: httpx.AsyncClient, username: str) -> None:
        response = await client.post(f"{API}/user", json=NEW_USER | {"username": username})

        assert (response.status_code, response.json()) == (422, {"detail": "Username not available"})

    @pytest.mark.parametrize("twin", [{}, {"username": "another"}, {"email": "another@example.com"}])
    async def test_of_simultaneous_identical_creations_one_succeeds(
        self, client: httpx.AsyncClient, twin: dict[str, str]
    ) -> None:
        bodies = [NEW_USER, NEW_USER | twin] * 5
        responses = await asyncio.gather(*(client.post(f"{API}/user", json=body) for body in bodies))

        assert sorted(response.status_code for response in responses) == [201] + [422] * 9
        details = {response.json()["detail"] for response in responses if response.status_code == 422}
        assert details <= {"Username not available", "Email is already registered"}

    @pytest.mark.parametrize(
        "wrong",
        [
            {"name": "x"},
            {"name": "x" * 31},
            {"name": "nul\x00"},
            {"username": "x"},
            {"username": "x" * 21},
            {"username": "Upper"},
            {"username": "under_score"},
            {"username": "newline\n"},
            {"username": "é" * 5},
            {"email": "nobody"},
            {"email": "a@b@example.com"},
            {"email": f"{'x' * 250}@example.com"},
            {"email": "nul\x00@example.com"},
            {"password": "short"},
            {"password": "x" * 73},
            {"password": "é" * 37},
            {"password": "nul\x00nul\x00"},
            {"profile_image_url": "ftp://example.com/x"},
            {"profile_image_url": "javascript:alert(1)"},
            {"profile_image_url": "https://example.com/\x00"},
            {"profile_image_url": "https://example.com/ x"},
            {"profile_image_url": f"https://example.com/{'x' * 2100}"},
            {"profile_image_url": None},
            {"is_superuser": True},
            {"hashed_password": "x"},
            {"id": 7},
            {"uuid": "00000000-0000-0000-0000-000000000000"},
            {"tier_id": 1},
            {"unknown": 1},
        ],
        ids=str,
    )
    async def test_invalid_values_are_refused(self, client: httpx.AsyncClient, wrong: dict[str, Any]) -> None:
        response = await client.post(f"{API}/user", json=NEW_USER | wrong)

        assert response.status_code == 422
        field = next(iter(wrong))
        assert [problem["loc"] for problem in response.json()["detail"]] == [["body", field]]

    @pytest.mark.parametrize("password", ["8 bytes!", "x" * 72, "é" * 36, "password", "        "])
    async def test_a_password_has_no_rule_but_its_length(self, client: httpx.AsyncClient, password: str) -> None:
        created = await client.post(f"{API}/user", json=NEW_USER | {"password": password})
        login = await client.post(f"{API}/login", data={"username": "userson", "password": password})

        assert (created.status_code, login.status_code) == (201, 200)

    async def test_a_url_is_kept_as_it_was_written(self, client: httpx.AsyncClient) -> None:
        url = "https://Example.com/a%20b?q=é#f"
        response = await client.post(f"{API}/user", json=NEW_USER | {"profile_image_url": url})

        assert response.json()["profile_image_url"] == url


class TestRead:
    async def test_a_deleted_user_is_not_found_anywhere(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account, root = await rows.user("gone"), await rows.superuser()
        post = await rows.post(account)
        await client.delete(f"{API}/user/gone", headers=account.headers)

        paths = ["/user/gone", "/user/gone/tier", "/gone/posts", f"/gone/post/{post.id}", "/user/gone/rate_limits"]
        for path in paths:
            response = await client.get(API + path, headers=root.headers)
            assert (response.status_code, response.json()) == (404, {"detail": "User not found"}), path
        listed = (await client.get(f"{API}/users")).json()
        assert [user["username"] for user in listed["data"]] == [root.username]
        assert listed["total_count"] == 1

    @pytest.mark.parametrize("username", ["nobody", "NOBODY", "with space", "a" * 300, "%C3%A9"])
    async def test_an_unknown_user_is_not_found(self, client: httpx.AsyncClient, username: str) -> None:
        response = await client.get(f"{API}/user/{username}")

        assert (response.status_code, response.json()) == (404, {"detail": "User not found"})

    async def test_me_needs_no_redirect(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account = await rows.user("userson")
        for path in ("/user/me", "/user/me/"):
            response = await client.get(API + path, headers=account.headers)
            assert (response.status_code, response.json()["username"]) == (200, "userson")


class TestUpdate:
    async def test_changes_what_is_given_and_nothing_else(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account = await rows.user("userson")
        before = await stored(rows, "userson")
        response = await client.patch(f"{API}/user/userson", headers=account.headers, json={"name": "New Name"})
        after = await stored(rows, "userson")

        assert (response.status_code, response.json()) == (200, {"message": "User updated"})
        assert after.name == "New Name"
        assert after.updated_at > before.created_at
        changed = {name for name in before._mapping if before._mapping[name] != after._mapping[name]}
        assert changed == {"name", "updated_at"}

    async def test_an_empty_body_changes_nothing(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account = await rows.user("userson")
        before = await stored(rows, "userson")
        response = await client.patch(f"{API}/user/userson", headers=account.headers, json={})

        assert response.status_code == 200
        assert await stored(rows, "userson") == before

    @pytest.mark.parametrize("field", ["name", "username", "email", "profile_image_url"])
    async def test_null_is_refused(self, client: httpx.AsyncClient, rows: Rows, field: str) -> None:
        account = await rows.user("userson")
        response = await client.patch(f"{API}/user/userson", headers=account.headers, json={field: None})

        assert response.status_code == 422

    @pytest.mark.parametrize(
        "field", ["is_superuser", "hashed_password", "password", "id", "uuid", "tier_id", "is_deleted"]
    )
    async def test_protected_fields_cannot_be_set(self, client: httpx.AsyncClient, rows: Rows, field: str) -> None:
        account = await rows.user("userson")
        response = await client.patch(f"{API}/user/userson", headers=account.headers, json={field: 1})

        assert response.status_code == 422
        assert response.json()["detail"][0]["type"] == "extra_forbidden"

    @pytest.mark.parametrize(
        ("values", "detail"),
        [
            ({"username": "taken"}, "Username not available"),
            ({"username": "tiers"}, "Username not available"),
            ({"email": "{taken}"}, "Email is already registered"),
        ],
    )
    async def test_taken_values_are_refused(
        self, client: httpx.AsyncClient, rows: Rows, values: dict[str, str], detail: str
    ) -> None:
        account = await rows.user("userson")
        taken = await rows.user("taken")
        body = {name: value.format(taken=taken.user.email.upper()) for name, value in values.items()}
        response = await client.patch(f"{API}/user/userson", headers=account.headers, json=body)

        assert (response.status_code, response.json()) == (422, {"detail": detail})

    async def test_a_renamed_users_token_stays_its_own(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account = await rows.user("first")
        await client.patch(f"{API}/user/first", headers=account.headers, json={"username": "second"})
        heir = await rows.user("first")

        assert (await client.get(f"{API}/user/me", headers=account.headers)).json()["username"] == "second"
        response = await client.patch(f"{API}/user/first", headers=account.headers, json={"name": "Not mine"})
        assert response.status_code == 403
        assert (await client.get(f"{API}/user/me", headers=heir.headers)).json()["username"] == "first"

    async def test_simultaneous_renames_to_one_name(self, client: httpx.AsyncClient, rows: Rows) -> None:
        accounts = [await rows.user() for _ in range(8)]
        responses = await asyncio.gather(
            *(
                client.patch(f"{API}/user/{account.username}", headers=account.headers, json={"username": "wanted"})
                for account in accounts
            )
        )

        assert sorted(response.status_code for response in responses) == [200] + [422] * 7


class TestDelete:
    async def test_ends_every_session_and_the_login(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account = await rows.user("userson")
        other_session = rows.session(account.user)
        response = await client.delete(f"{API}/user/userson", headers=account.headers)

        assert (response.status_code, response.json()) == (200, {"message": "User deleted"})
        for session in (account, other_session):
            assert (await client.get(f"{API}/user/me", headers=session.headers)).status_code == 401
            cookie = {"Cookie": f"refresh_token={session.refresh_token}"}
            assert (await client.post(f"{API}/refresh", headers=cookie)).status_code == 401
        login = await client.post(f"{API}/login", data={"username": "userson", "password": PASSWORD})
        assert (login.status_code, login.json()) == (401, {"detail": "Wrong username, email or password."})

    async def test_marks_the_row_and_keeps_it(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account = await rows.user("userson")
        await client.delete(f"{API}/user/userson", headers=account.headers)

        row = await stored(rows, "userson")
        assert row.is_deleted
        assert row.deleted_at > row.created_at


class TestDeleteFromDatabase:
    @pytest.mark.parametrize("softly_deleted_before", [True, False])
    async def test_removes_row_and_posts(
        self, client: httpx.AsyncClient, rows: Rows, softly_deleted_before: bool
    ) -> None:
        account, root = await rows.user("userson"), await rows.superuser()
        await rows.post(account)
        if softly_deleted_before:
            await client.delete(f"{API}/user/userson", headers=account.headers)
        response = await client.delete(f"{API}/db_user/userson", headers=root.headers)

        assert (response.status_code, response.json()) == (200, {"message": "User deleted from the database"})
        assert await stored(rows, "userson") is None
        await rows.user("userson")
        assert (await client.get(f"{API}/userson/posts")).json()["total_count"] == 0
        assert (await client.get(f"{API}/user/me", headers=root.headers)).status_code == 200
        assert (await client.get(f"{API}/user/me", headers=account.headers)).status_code == 401

    async def test_an_unknown_user_is_not_found(self, client: httpx.AsyncClient, rows: Rows) -> None:
        root = await rows.superuser()
        response = await client.delete(f"{API}/db_user/nobody", headers=root.headers)

        assert (response.status_code, response.json()) == (404, {"detail": "User not found"})


class TestTier:
    async def test_new_users_get_the_tier_of_the_settings(self, services: Services, rows: Rows) -> None:
        settings = services.settings(DEFAULT_TIER_NAME="free")
        async with running(create_application(router=router, settings=settings)) as client:
            before = await client.post(f"{API}/user", json=NEW_USER)
            tier = await rows.tier("free")
            after = await client.post(
                f"{API}/user", json=NEW_USER | {"username": "second", "email": "second@example.com"}
            )

        assert (before.status_code, before.json()["tier_id"]) == (201, None)
        assert (after.status_code, after.json()["tier_id"]) == (201, tier.id)

    async def test_read_without_a_tier_is_null(self, client: httpx.AsyncClient, rows: Rows) -> None:
        await rows.user("userson")
        response = await client.get(f"{API}/user/userson/tier")

        assert (response.status_code, response.json()) == (200, None)

    async def test_a_superuser_gives_a_tier(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account, root, tier = await rows.user("userson"), await rows.superuser(), await rows.tier("free")
        body = {"tier_id": tier.id}
        response = await client.patch(f"{API}/user/userson/tier", headers=root.headers, json=body)
        read = (await client.get(f"{API}/user/userson/tier")).json()

        assert (response.status_code, response.json()) == (200, {"message": f"User {account.user.name} Tier updated"})
        assert read.keys() == {
            "id", "name", "username", "email", "profile_image_url", "tier_id", "tier_name", "tier_created_at"
        }  # fmt: skip
        assert (read["tier_id"], read["tier_name"]) == (tier.id, "free")

    async def test_an_unknown_tier_or_user_is_not_found(self, client: httpx.AsyncClient, rows: Rows) -> None:
        root, tier = await rows.superuser(), await rows.tier()
        unknown_tier = await client.patch(
            f"{API}/user/{root.username}/tier", headers=root.headers, json={"tier_id": 999}
        )
        unknown_user = await client.patch(f"{API}/user/nobody/tier", headers=root.headers, json={"tier_id": tier.id})

        assert (unknown_tier.status_code, unknown_tier.json()) == (404, {"detail": "Tier not found"})
        assert (unknown_user.status_code, unknown_user.json()) == (404, {"detail": "User not found"})

    @pytest.mark.parametrize("tier_id", [0, -1, 2**31, 2**63, 2**64, 1.5, "x", None, True])
    async def test_ids_outside_the_column_are_refused(
        self, client: httpx.AsyncClient, rows: Rows, tier_id: object
    ) -> None:
        root = await rows.superuser()
        response = await client.patch(
            f"{API}/user/{root.username}/tier", headers=root.headers, json={"tier_id": tier_id}
        )

        assert response.status_code in ({404, 422} if tier_id is True else {422})

    async def test_rate_limits_of_the_tier(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account, root, tier = await rows.user("userson"), await rows.superuser(), await rows.tier()
        url = f"{API}/user/userson/rate_limits"
        without_tier = (await client.get(url, headers=root.headers)).json()
        await rows.join_tier(account, tier)
        rule = await rows.rate_limit(tier)
        with_tier = (await client.get(url, headers=root.headers)).json()

        assert without_tier["tier_rate_limits"] == []
        assert with_tier["tier_rate_limits"] == [rule.model_dump()]
        assert with_tier["tier_id"] == tier.id


class TestChangedBehindTheApi:
    async def test_a_user_soft_deleted_by_sql_is_not_found_at_once(self, rows: Rows, client: httpx.AsyncClient) -> None:
        account = await rows.user("userson")
        async with rows.database.sessions() as db:
            await db.execute(update(User).values(is_deleted=True))
            await db.commit()

        assert (await client.get(f"{API}/user/me", headers=account.headers)).status_code == 401
        assert await crud_users.read_credentials(rows.database, "userson") is None
