"""Sessions: how they begin, renew and end, and what is no token."""

import asyncio
import os
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import bcrypt
import httpx
import pytest
from fastapi import FastAPI
from jose import jwt
from sqlalchemy import select, update

from app.api import router
from app.core.config import Settings
from app.core.db.token_blacklist import TokenBlacklist
from app.core.security import TokenType, create_token, decode_token, new_family
from app.core.setup import create_application
from tests.conftest import Services
from tests.helper import API, PASSWORD, Account, Rows, hashed, running
from tests.support import authorization as may
from tests.support.statements import recorded_statements

AUTHORIZATION = may.Table(
    may.anyone("POST", "/login", data={"username": "owner", "password": PASSWORD}),
    may.anyone("POST", "/refresh"),
    may.user("POST", "/logout"),
)


WRONG = {"detail": "Wrong username, email or password."}
DEAD = {"detail": "User not authenticated."}


async def login(client: httpx.AsyncClient, username: str, password: str = PASSWORD) -> httpx.Response:
    client.cookies.clear()
    return await client.post(f"{API}/login", data={"username": username, "password": password})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def cookie(token: str) -> dict[str, str]:
    return {"Cookie": f"refresh_token={token}"}


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    client.cookies.clear()
    return await client.post(f"{API}/refresh", headers=cookie(token))


async def is_alive(client: httpx.AsyncClient, access_token: str) -> bool:
    response = await client.get(f"{API}/user/me", headers=bearer(access_token))
    assert response.status_code in {200, 401}
    return response.status_code == 200


async def grow_old(rows: Rows) -> None:
    """Puts every use of a refresh token a minute into the past, behind the grace."""
    async with rows.database.sessions() as db:
        await db.execute(update(TokenBlacklist).values(created_at=datetime.now(UTC) - timedelta(minutes=1)))
        await db.commit()


class TestLogin:
    @pytest.mark.parametrize("identifier", ["userson", "MAIL", "mail"])
    async def test_by_username_or_email_in_any_case(
        self, client: httpx.AsyncClient, rows: Rows, identifier: str
    ) -> None:
        account = await rows.user("userson")
        emails = {"MAIL": account.user.email.upper(), "mail": account.user.email}
        response = await login(client, emails.get(identifier, identifier))

        assert response.status_code == 200
        assert response.json().keys() == {"access_token", "token_type"}
        assert response.json()["token_type"] == "bearer"
        assert response.headers["Cache-Control"] == "private, no-store"
        assert await is_alive(client, response.json()["access_token"])

    async def test_the_cookie_is_kept_from_scripts_and_plain_http(self, client: httpx.AsyncClient, rows: Rows) -> None:
        await rows.user("userson")
        header = (await login(client, "userson")).headers["Set-Cookie"]

        attributes = {part.strip().lower() for part in header.split(";")[1:]}
        assert header.startswith("refresh_token=")
        assert attributes >= {"httponly", "secure", "samesite=lax", "max-age=604800"}

    async def test_the_claims_are_those_of_the_contract(
        self, client: httpx.AsyncClient, rows: Rows, settings: Settings
    ) -> None:
        account = await rows.user("userson")
        response = await login(client, "userson")
        tokens = {"access": response.json()["access_token"], "refresh": response.cookies["refresh_token"]}
        for token_type, seconds in (("access", 1800), ("refresh", 604800)):
            claims = jwt.decode(tokens[token_type], settings.SECRET_KEY, algorithms=["HS256"])
            assert claims.keys() == {"sub", "exp", "iat", "jti", "token_type"}
            assert claims["sub"] == str(account.user.uuid)
            assert claims["token_type"] == token_type
            assert claims["exp"] - claims["iat"] == seconds
            assert "userson" not in str(claims)

    @pytest.mark.parametrize("password", ["wrong", "", PASSWORD + " ", PASSWORD.upper(), "x" * 100, "nul\x00"])
    async def test_a_wrong_password(self, client: httpx.AsyncClient, rows: Rows, password: str) -> None:
        await rows.user("userson")
        response = await login(client, "userson", password)

        assert response.status_code == 422 if not password else (response.status_code, response.json()) == (401, WRONG)
        assert "set-cookie" not in response.headers

    async def test_a_longer_password_is_never_truncated(self, client: httpx.AsyncClient, rows: Rows) -> None:
        body = {"name": "User", "username": "userson", "email": "u@example.com", "password": "x" * 72}
        await client.post(f"{API}/user", json=body)

        assert (await login(client, "userson", "x" * 72)).status_code == 200
        assert (await login(client, "userson", "x" * 73)).status_code == 401

    async def test_an_unknown_user_costs_the_same_hash(
        self, client: httpx.AsyncClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The work of bcrypt is its cost factor; it is spent once for a known and for an unknown name."""
        costs: list[bytes] = []
        real = bcrypt.checkpw

        def watched(password: bytes, hashed_password: bytes) -> bool:
            costs.append(hashed_password[:7])
            return real(password, hashed_password)

        monkeypatch.setattr(bcrypt, "checkpw", watched)
        await rows.user("userson")
        await login(client, "userson", "wrong")
        await login(client, "nobody", "wrong")

        assert costs == [b"$2b$04$", b"$2b$04$"]

    async def test_two_logins_are_two_sessions(self, client: httpx.AsyncClient, rows: Rows) -> None:
        await rows.user("userson")
        one, two = await login(client, "userson"), await login(client, "userson")
        first, second = one.json()["access_token"], two.json()["access_token"]
        assert first != second
        await client.post(f"{API}/logout", headers=bearer(first) | cookie(one.cookies["refresh_token"]))

        assert not await is_alive(client, first)
        assert await is_alive(client, second)

    async def test_the_event_loop_goes_on_during_logins(self, services: Services, rows: Rows) -> None:
        """With hashes of 50 ms and more the loop still turns many times while they are made."""
        app = create_application(router=router, settings=services.settings(PASSWORD_HASH_ROUNDS=10))
        async with running(app) as client:
            storm = [asyncio.ensure_future(login(client, "nobody")) for _ in range(4)]
            turns = 0
            while not all(task.done() for task in storm):
                await asyncio.sleep(0)
                turns += 1
        assert turns > 100


class TestLockout:
    async def test_failures_lock_the_pair_and_a_success_clears(self, client: httpx.AsyncClient, rows: Rows) -> None:
        await rows.user("userson")
        for _ in range(4):
            assert (await login(client, "userson", "wrong")).status_code == 401
        assert (await login(client, "userson")).status_code == 200
        for _ in range(5):
            assert (await login(client, "userson", "wrong")).status_code == 401
        locked = await login(client, "userson")

        assert locked.status_code == 429
        assert 1 <= int(locked.headers["Retry-After"]) <= 300
        assert locked.json().keys() == {"detail"}

    async def test_others_are_not_locked(self, application: FastAPI, client: httpx.AsyncClient, rows: Rows) -> None:
        await rows.user("userson")
        await rows.user("other")
        for _ in range(6):
            last = await login(client, "userson", "wrong")
        assert last.status_code == 429
        assert (await login(client, "other")).status_code == 200
        elsewhere = httpx.ASGITransport(application, client=("203.0.113.9", 1))
        async with httpx.AsyncClient(transport=elsewhere, base_url="https://testserver") as far:
            assert (await login(far, "userson")).status_code == 200

    async def test_an_unknown_name_is_locked_as_well(self, client: httpx.AsyncClient, rows: Rows) -> None:
        statuses = [(await login(client, "nobody", "wrong")).status_code for _ in range(6)]

        assert statuses == [401] * 5 + [429]

    async def test_ipv6_neighbours_are_one_address(
        self, application: FastAPI, client: httpx.AsyncClient, rows: Rows
    ) -> None:
        await rows.user("userson")
        for number in range(6):
            transport = httpx.ASGITransport(application, client=(f"2001:db8::{number + 1}", 1))
            async with httpx.AsyncClient(transport=transport, base_url="https://testserver") as caller:
                last = await login(caller, "userson", "wrong")
        assert last.status_code == 429

    async def test_a_burst_gets_few_guesses(self, client: httpx.AsyncClient, rows: Rows, settings: Settings) -> None:
        await rows.user("userson")
        responses = await asyncio.gather(*(login(client, "userson", f"guess {number}") for number in range(60)))
        guesses = sum(response.status_code == 401 for response in responses)

        assert settings.LOGIN_MAX_FAILURES <= guesses < settings.LOGIN_MAX_FAILURES + (os.cpu_count() or 1)

    async def test_every_process_counts_the_same(self, client: httpx.AsyncClient, rows: Rows) -> None:
        await rows.user("userson")
        for _ in range(5):
            await login(client, "userson", "wrong")
        other = create_application(router=router, settings=rows.settings, create_tables_on_start=False)
        async with running(other) as elsewhere:
            assert (await login(elsewhere, "userson")).status_code == 429


class TestRefresh:
    async def test_each_use_returns_a_new_pair(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account = await rows.user()
        response = await refresh(client, account.refresh_token)

        assert response.status_code == 200
        assert response.json().keys() == {"access_token", "token_type"}
        assert response.headers["Cache-Control"] == "private, no-store"
        assert response.cookies["refresh_token"] != account.refresh_token
        assert await is_alive(client, response.json()["access_token"])
        assert (await refresh(client, response.cookies["refresh_token"])).status_code == 200

    async def test_concurrent_refreshes_all_succeed(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account = await rows.user()
        responses = await asyncio.gather(*(refresh(client, account.refresh_token) for _ in range(6)))

        assert {response.status_code for response in responses} == {200}
        for response in responses:
            assert await is_alive(client, response.json()["access_token"])

    async def test_a_stolen_token_ends_the_session(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account = await rows.user()
        other = rows.session(account.user)
        renewed = await refresh(client, account.refresh_token)
        await grow_old(rows)
        reused = await refresh(client, account.refresh_token)

        assert (reused.status_code, reused.json()) == (401, {"detail": "Invalid refresh token."})
        assert not await is_alive(client, renewed.json()["access_token"])
        assert (await refresh(client, renewed.cookies["refresh_token"])).status_code == 401
        assert (await client.get(f"{API}/user/me", headers=account.headers)).status_code == 401
        assert (await client.get(f"{API}/user/me", headers=other.headers)).status_code == 200

    async def test_without_a_grace_the_second_use_ends_the_session(self, services: Services, rows: Rows) -> None:
        settings = services.settings(REFRESH_TOKEN_REUSE_GRACE_SECONDS=0)
        account = await rows.user()
        async with running(create_application(router=router, settings=settings)) as client:
            responses = await asyncio.gather(*(refresh(client, account.refresh_token) for _ in range(4)))
        assert sorted(response.status_code for response in responses) == [200, 401, 401, 401]

    @pytest.mark.parametrize("token", ["missing", "access", "forged", "expired", "other key", "nobody's"])
    async def test_what_is_no_refresh_token(
        self, client: httpx.AsyncClient, rows: Rows, settings: Settings, token: str
    ) -> None:
        account = await rows.user()
        other_key = settings.model_copy(update={"SECRET_KEY": "x" * 40})
        past = settings.model_copy(update={"REFRESH_TOKEN_EXPIRE_DAYS": -1})
        family = new_family(hashed(PASSWORD))
        tokens = {
            "access": account.headers["Authorization"].removeprefix("Bearer "),
            "forged": account.refresh_token[:-4] + "AAAA",
            "expired": create_token(account.user.uuid, TokenType.REFRESH, family, past),
            "other key": create_token(account.user.uuid, TokenType.REFRESH, family, other_key),
            "nobody's": create_token(uuid4(), TokenType.REFRESH, family, settings),
        }
        client.cookies.clear()
        headers = cookie(tokens[token]) if token in tokens else {}
        response = await client.post(f"{API}/refresh", headers=headers)

        text = "Invalid refresh token." if token in tokens else "Refresh token missing."
        assert (response.status_code, response.json()) == (401, {"detail": text})


class TestLogout:
    async def test_ends_the_whole_session(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account = await rows.user()
        renewed = await refresh(client, account.refresh_token)
        newest, newest_cookie = renewed.json()["access_token"], renewed.cookies["refresh_token"]
        response = await client.post(f"{API}/logout", headers=bearer(newest) | cookie(newest_cookie))

        assert (response.status_code, response.json()) == (200, {"message": "Logged out successfully"})
        attributes = {part.strip().lower() for part in response.headers["Set-Cookie"].split(";")}
        assert attributes >= {'refresh_token=""', "max-age=0", "httponly", "secure", "samesite=lax", "path=/"}
        assert not await is_alive(client, newest)
        assert (await client.get(f"{API}/user/me", headers=account.headers)).status_code == 401
        for token in (newest_cookie, account.refresh_token):
            assert (await refresh(client, token)).status_code == 401

    async def test_a_cookie_of_another_user_revokes_nothing(self, client: httpx.AsyncClient, rows: Rows) -> None:
        mine, theirs = await rows.user(), await rows.user()
        client.cookies.clear()
        response = await client.post(f"{API}/logout", headers={**mine.headers, **cookie(theirs.refresh_token)})

        assert (response.status_code, response.json()) == (401, {"detail": "Invalid token."})
        for account in (mine, theirs):
            assert (await client.get(f"{API}/user/me", headers=account.headers)).status_code == 200
            assert (await refresh(client, account.refresh_token)).status_code == 200

    @pytest.mark.parametrize(("token", "text"), [(None, "Refresh token not found"), ("x", "Invalid token.")])
    async def test_it_needs_both_tokens(
        self, client: httpx.AsyncClient, rows: Rows, token: str | None, text: str
    ) -> None:
        account = await rows.user()
        client.cookies.clear()
        headers = {**account.headers, **(cookie(token) if token else {})}
        response = await client.post(f"{API}/logout", headers=headers)

        assert (response.status_code, response.json()) == (401, {"detail": text})
        assert (await client.get(f"{API}/user/me", headers=account.headers)).status_code == 200

    async def test_a_refresh_that_runs_meanwhile_does_not_survive(self, client: httpx.AsyncClient, rows: Rows) -> None:
        for _ in range(10):
            account = await rows.user()
            client.cookies.clear()
            headers = {**account.headers, **cookie(account.refresh_token)}
            responses = await asyncio.gather(
                *(client.post(f"{API}/refresh", headers=cookie(account.refresh_token)) for _ in range(3)),
                client.post(f"{API}/logout", headers=headers),
                *(client.post(f"{API}/refresh", headers=cookie(account.refresh_token)) for _ in range(3)),
            )
            for response in responses:
                if "access_token" in response.json():
                    assert not await is_alive(client, response.json()["access_token"])


class TestAccessToken:
    @pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
    async def test_only_the_configured_algorithm_counts(
        self, client: httpx.AsyncClient, rows: Rows, settings: Settings, algorithm: str
    ) -> None:
        account = await rows.user()
        other = settings.model_copy(update={"ALGORITHM": algorithm})
        token = create_token(account.user.uuid, TokenType.ACCESS, new_family(hashed(PASSWORD)), other)

        assert not await is_alive(client, token)

    @pytest.mark.parametrize("missing", ["sub", "exp", "iat", "jti", "token_type"])
    def test_every_claim_is_needed(self, settings: Settings, missing: str) -> None:
        token = create_token(uuid4(), TokenType.ACCESS, "family", settings)
        claims = jwt.decode(token, settings.SECRET_KEY, algorithms=["HS256"])
        assert decode_token(token, TokenType.ACCESS, settings)
        del claims[missing]
        crippled = jwt.encode(claims, settings.SECRET_KEY, algorithm="HS256")

        assert decode_token(crippled, TokenType.ACCESS, settings) is None

    @pytest.mark.parametrize(
        "changes", [{"sub": "userson"}, {"sub": 1}, {"exp": "soon"}, {"exp": 1}, {"jti": 5}, {"token_type": ["access"]}]
    )
    def test_invalid_claims_are_refused(self, settings: Settings, changes: dict[str, Any]) -> None:
        token = create_token(uuid4(), TokenType.ACCESS, "family", settings)
        claims = jwt.decode(token, settings.SECRET_KEY, algorithms=["HS256"]) | changes
        strange = jwt.encode(claims, settings.SECRET_KEY, algorithm="HS256")

        assert decode_token(strange, TokenType.ACCESS, settings) is None

    async def test_its_check_is_one_statement(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account = await rows.user()
        await client.get(f"{API}/user/me", headers=account.headers)
        with recorded_statements(rows.database) as statements:
            await client.get(f"{API}/user/me", headers=account.headers)
        assert len(statements) == 1

    async def test_the_blacklist_holds_digests_only(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account = await rows.user()
        await refresh(client, account.refresh_token)
        client.cookies.clear()
        await client.post(f"{API}/logout", headers={**account.headers, **cookie(account.refresh_token)})
        entries = await rows.database.fetch_all(select(TokenBlacklist.token))

        assert len(entries) == 2
        assert all(re.fullmatch(r"[0-9a-f]{64}", entry.token) for entry in entries)


class TestPassword:
    async def change(
        self, client: httpx.AsyncClient, account: Account, current: str = PASSWORD, new: str = "another password"
    ) -> httpx.Response:
        body = {"current_password": current, "new_password": new}
        return await client.patch(f"{API}/user/{account.username}/password", headers=account.headers, json=body)

    async def test_a_change_ends_the_other_sessions_and_starts_a_new_one(
        self, client: httpx.AsyncClient, rows: Rows
    ) -> None:
        account = await rows.user("userson")
        other = rows.session(account.user)
        response = await self.change(client, account)

        assert response.status_code == 200
        assert await is_alive(client, response.json()["access_token"])
        assert (await refresh(client, response.cookies["refresh_token"])).status_code == 200
        assert (await client.get(f"{API}/user/me", headers=other.headers)).status_code == 401
        assert (await refresh(client, other.refresh_token)).status_code == 401
        assert (await login(client, "userson")).status_code == 401
        assert (await login(client, "userson", "another password")).status_code == 200

    async def test_a_wrong_current_password_changes_nothing_and_counts(
        self, client: httpx.AsyncClient, rows: Rows
    ) -> None:
        account = await rows.user("userson")
        responses = [await self.change(client, account, current="wrong password") for _ in range(6)]

        assert [response.status_code for response in responses] == [422] * 5 + [429]
        assert responses[0].json() == {"detail": "The current password is wrong."}
        assert (await client.get(f"{API}/user/me", headers=account.headers)).status_code == 200

    @pytest.mark.parametrize("new", ["short", "x" * 73, "nul\x00nul\x00"])
    async def test_the_new_password_must_be_valid(self, client: httpx.AsyncClient, rows: Rows, new: str) -> None:
        assert (await self.change(client, await rows.user(), new=new)).status_code == 422

    async def test_of_two_changes_at_once_one_is_made(self, client: httpx.AsyncClient, rows: Rows) -> None:
        account = await rows.user("userson")
        responses = await asyncio.gather(
            *(self.change(client, account, new=f"new password {number}") for number in range(4))
        )
        assert sum(response.status_code == 200 for response in responses) == 1
