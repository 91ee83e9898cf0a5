"""A signature is verified once per process; expiry, type, key and revocation are checked each time."""

from uuid import uuid4

import httpx
import pytest
import time_machine

from app.core import security, signing
from app.core.config import CryptSettings, Settings
from app.core.security import TokenType, VerifiedTokens, create_token, decode_token
from tests.helper import API, Rows


def _token(settings: CryptSettings, token_type: TokenType = TokenType.ACCESS) -> str:
    return create_token(uuid4(), token_type, "family", settings)


def test_signature_is_verified_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    token, verified, calls = _token(settings), VerifiedTokens(settings), 0
    expected = decode_token(token, TokenType.ACCESS, settings)

    def verify(token: str, settings: CryptSettings) -> object:
        nonlocal calls
        calls += 1
        return original(token, settings)

    original = signing.verify
    monkeypatch.setattr(security, "verify", verify)
    assert [verified.decode(token) for _ in range(5)] == [expected] * 5
    assert calls == 1
    assert token not in repr(vars(verified))


def test_remembered_token_expires_in_the_same_second_as_another(settings: Settings) -> None:
    with time_machine.travel(1_900_000_000, tick=False) as clock:
        token, verified = _token(settings), VerifiedTokens(settings)
        for seconds in (0, settings.ACCESS_TOKEN_EXPIRE_MINUTES * 60, 1, 1):
            clock.shift(seconds)
            assert verified.decode(token) == decode_token(token, TokenType.ACCESS, settings)
        assert verified.decode(token) is None


def test_forged_tokens_of_another_type_or_key_are_never_remembered(settings: Settings) -> None:
    other = settings.model_copy(update={"SECRET_KEY": "another secret that is long enough for everything"})
    verified = VerifiedTokens(settings, max_tokens=3)
    token = _token(settings)
    assert verified.decode(token)
    for forged in (_token(other), _token(settings, TokenType.REFRESH), token[:-4] + "AAAA", "", "\ud800", "a.b.c"):
        assert verified.decode(forged) is None
    assert len(verified._claims) == 1


def test_memory_is_bounded(settings: Settings) -> None:
    verified = VerifiedTokens(settings, max_tokens=3)
    tokens = [_token(settings) for _ in range(10)]
    for token in tokens * 2:
        assert verified.decode(token)
    assert len(verified._claims) == 3


async def test_revoked_token_is_refused_at_once(client: httpx.AsyncClient, rows: Rows) -> None:
    account = await rows.user()
    for _ in range(3):
        assert (await client.get(f"{API}/user/me", headers=account.headers)).status_code == 200
    await client.delete(f"{API}/user/{account.username}", headers=account.headers)
    assert (await client.get(f"{API}/user/me", headers=account.headers)).status_code == 401
