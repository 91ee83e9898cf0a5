"""What is no token, and how tokens travel: forged and swapped ones, and the headers around real ones."""

import base64
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from jose import jwt

from app.api import router
from app.core.config import Settings
from app.core.security import TokenType, create_token, new_family
from app.core.setup import create_application
from tests.conftest import Services
from tests.helper import API, PASSWORD, Account, Rows, hashed, running

DEAD = {"detail": "User not authenticated."}
COOKIE = {"httponly", "secure", "samesite=lax", "max-age=604800", "path=/"}


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _part(value: Mapping[str, Any]) -> str:
    return _encoded(json.dumps(value).encode())


def claims_of(token: str) -> dict[str, Any]:
    return jwt.get_unverified_claims(token)


def forgeries(account: Account, settings: Settings) -> dict[str, str]:
    """Tokens that say all the right things."""
    token = account.headers["Authorization"].removeprefix("Bearer ")
    header, payload, signature = token.split(".")
    claims = claims_of(token)
    family = new_family(hashed(PASSWORD))
    past = datetime.now(UTC) - timedelta(seconds=1)
    other_key = settings.model_copy(update={"SECRET_KEY": "another secret that is long enough for everything"})
    unsigned = _part({"alg": "none", "typ": "JWT"})
    return {
        "no algorithm": f"{unsigned}.{payload}.",
        "no algorithm, a signature": f"{unsigned}.{payload}.{signature}",
        "no signature": f"{header}.{payload}.",
        "a claim changed": f"{header}.{_part(claims | {'exp': claims['exp'] + 1})}.{signature}",
        "another key": create_token(account.user.uuid, TokenType.ACCESS, family, other_key),
        "an empty key": f"{header}.{payload}.{_encoded(hmac.digest(b'', f'{header}.{payload}'.encode(), 'sha256'))}",
        "expired": jwt.encode(claims | {"exp": past}, settings.SECRET_KEY, algorithm="HS256"),
        "a refresh token": account.refresh_token,
    }


FORGERIES = (
    "no algorithm",
    "no algorithm, a signature",
    "no signature",
    "a claim changed",
    "another key",
    "an empty key",
    "expired",
    "a refresh token",
)


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forged_or_swapped_token_is_refused(
    client: httpx.AsyncClient, rows: Rows, settings: Settings, name: str
) -> None:
    account = await rows.user()
    headers = {"Authorization": f"Bearer {forgeries(account, settings)[name]}"}
    response = await client.get(f"{API}/user/me", headers=headers)
    real = await client.get(f"{API}/user/me", headers=account.headers)

    assert (response.status_code, response.json(), response.headers["WWW-Authenticate"]) == (401, DEAD, "Bearer")
    assert real.status_code == 200


@pytest.mark.parametrize("name", ["access_token", "token", "authorization"])
async def test_a_token_in_the_url_is_ignored(client: httpx.AsyncClient, rows: Rows, name: str) -> None:
    account = await rows.user()
    token = account.headers["Authorization"].removeprefix("Bearer ")

    assert (await client.get(f"{API}/user/me", params={name: token})).status_code == 401
    assert (await client.post(f"{API}/refresh", params={"refresh_token": account.refresh_token})).status_code == 401


def test_sessions_and_tokens_are_named_at_random(settings: Settings) -> None:
    """Also if only random bits differ: one user, one password, one second."""
    user, hashed_password = uuid4(), hashed(PASSWORD)
    families = [new_family(hashed_password) for _ in range(100)]
    tokens = [create_token(user, TokenType.ACCESS, families[0], settings) for _ in range(100)]
    serials = [claims_of(token)["jti"].partition(".")[2] for token in tokens]

    assert len(set(families)) == len(set(serials)) == 100
    assert all(re.fullmatch(r"[0-9a-f]{32}-[0-9a-f]{16}", family) for family in families)
    assert all(re.fullmatch(r"[0-9a-f]{16}", serial) for serial in serials)


async def test_tokens_in_each_others_place_end_no_session(client: httpx.AsyncClient, rows: Rows) -> None:
    account = await rows.user()
    access = account.headers["Authorization"].removeprefix("Bearer ")
    cookie = {"Cookie": f"refresh_token={access}"}
    response = await client.post(f"{API}/logout", headers={**account.headers, **cookie})

    assert (response.status_code, response.json()) == (401, {"detail": "Invalid token."})
    assert (await client.get(f"{API}/user/me", headers=account.headers)).status_code == 200


async def test_a_logout_with_an_older_sessions_cookie_ends_both(client: httpx.AsyncClient, rows: Rows) -> None:
    """Both belong to the caller, and a third session goes on."""
    account = await rows.user()
    older, third = rows.session(account.user), rows.session(account.user)
    cookie = {"Cookie": f"refresh_token={older.refresh_token}"}
    await client.post(f"{API}/logout", headers={**account.headers, **cookie})

    alive = [
        (await client.get(f"{API}/user/me", headers=session.headers)).status_code for session in (account, older, third)
    ]
    assert alive == [401, 401, 200]


async def test_a_user_removed_from_the_database_renews_nothing(client: httpx.AsyncClient, rows: Rows) -> None:
    """Not even if another user registers under the same name at once."""
    root, account = await rows.superuser(), await rows.user("userson")
    await client.delete(f"{API}/db_user/userson", headers=root.headers)
    await rows.user("userson")
    cookie = {"Cookie": f"refresh_token={account.refresh_token}"}
    response = await client.post(f"{API}/refresh", headers=cookie)

    assert (response.status_code, response.json()) == (401, {"detail": "Invalid refresh token."})
    assert (await client.get(f"{API}/user/me", headers=account.headers)).status_code == 401


async def test_responses_with_tokens_are_not_stored(client: httpx.AsyncClient, rows: Rows) -> None:
    account = await rows.user("userson")
    body = {"current_password": PASSWORD, "new_password": "another password"}
    cookie = {"Cookie": f"refresh_token={account.refresh_token}"}
    responses = [
        await client.post(f"{API}/login", data={"username": "userson", "password": PASSWORD}),
        await client.post(f"{API}/refresh", headers=cookie),
        await client.patch(f"{API}/user/userson/password", headers=account.headers, json=body),
    ]

    for response in responses:
        assert response.status_code == 200, response.text
        assert response.headers["Cache-Control"] == "private, no-store"
        attributes = {part.strip().lower() for part in response.headers["Set-Cookie"].split(";")[1:]}
        assert attributes >= COOKIE


async def test_lifetimes_and_the_cookie_follow_the_settings(services: Services, rows: Rows) -> None:
    await rows.user("userson")
    settings = services.settings(
        ACCESS_TOKEN_EXPIRE_MINUTES=2,
        REFRESH_TOKEN_EXPIRE_DAYS=1,
        REFRESH_TOKEN_COOKIE_SAMESITE="strict",
        ALGORITHM="HS512",
    )
    async with running(create_application(router=router, settings=settings)) as client:
        response = await client.post(f"{API}/login", data={"username": "userson", "password": PASSWORD})
    token = response.json()["access_token"]
    claims = claims_of(token)

    assert jwt.get_unverified_header(token)["alg"] == "HS512"
    assert claims["exp"] - claims["iat"] == 120
    assert {"samesite=strict", "max-age=86400"} <= {
        part.strip().lower() for part in response.headers["Set-Cookie"].split(";")
    }
