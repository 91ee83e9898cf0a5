"""Who may do what: the tables of all test files, compared with the application's own routes."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.core.db.crud_token_blacklist import crud_token_blacklist
from app.core.security import TokenType, decode_token
from app.crud.crud_users import crud_users
from tests.helper import API, Account, Rows
from tests.support.authorization import Rule, Table, tables

ROLES = ("anonymous", "stranger", "owner", "superuser", "deleted user", "revoked token")
NOT_AUTHENTICATED = {"detail": "Not authenticated"}
REVOKED = {"detail": "User not authenticated."}
NOT_SUPERUSER = {"detail": "You do not have enough privileges."}
NOT_OWNER = {"detail": "Request forbidden -- authorization will not help"}
RULES = [pytest.param(table, rule, id=str(rule)) for table in tables() for rule in table.rules]


@dataclass(frozen=True, slots=True)
class Callers:
    """An account per role; the owner's is the one whose rows the operations act on."""

    accounts: Mapping[str, Account | None]
    owner: Account

    async def send(self, client: httpx.AsyncClient, rows: Rows, table: Table, rule: Rule, role: str) -> httpx.Response:
        account = self.accounts[role]
        headers = dict(account.headers) if account else {}
        session = account if account and rule.path == "/logout" else self.owner
        headers["Cookie"] = f"refresh_token={session.refresh_token}"
        path = API + rule.path.format_map(await table.arrange(client, rows, self.owner))
        return await client.request(rule.method, path, headers=headers, **rule.body)


async def revoke(rows: Rows, account: Account) -> None:
    claims = decode_token(account.refresh_token, TokenType.REFRESH, rows.settings)
    assert claims is not None
    await crud_token_blacklist.end_families(rows.database, {claims.family}, rows.settings)


@pytest.fixture
async def callers(rows: Rows) -> Callers:
    owner, deleted, revoked = await rows.user("owner"), await rows.user(), await rows.user()
    await crud_users.soft_delete(rows.database, id=deleted.user.id)
    await revoke(rows, revoked)
    accounts = {
        "anonymous": None,
        "stranger": await rows.user(),
        "owner": owner,
        "superuser": await rows.superuser(),
        "deleted user": deleted,
        "revoked token": revoked,
    }
    return Callers(accounts, owner)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("table", "rule"), RULES)
async def test_each_role_gets_what_the_table_says(
    client: httpx.AsyncClient, rows: Rows, callers: Callers, table: Table, rule: Rule, role: str
) -> None:
    response = await callers.send(client, rows, table, rule, role)

    assert response.status_code == rule.status(role), response.text
    if response.status_code == 401:
        assert response.json() == (NOT_AUTHENTICATED if role == "anonymous" else REVOKED)
        assert response.headers["WWW-Authenticate"] == "Bearer"
    if response.status_code == 403:
        only_superusers = rule.superuser < 400
        assert response.json() == (NOT_SUPERUSER if only_superusers else NOT_OWNER)


def test_the_table_has_every_operation(application: FastAPI) -> None:
    operations = {
        (method, (context.path or "").removeprefix(API))
        for context in iter_route_contexts(application.routes)
        for method in context.methods or set()
        if (context.path or "").startswith(API)
    }
    rules = [(rule.method, rule.path) for table in tables() for rule in table.rules]

    assert set(rules) == operations, "each operation needs a rule in the AUTHORIZATION of a test file"
    assert len(rules) == len(set(rules))


@pytest.mark.parametrize(
    ("table", "rule"),
    [pytest.param(table, rule, id=str(rule)) for table in tables() for rule in table.rules if rule.anonymous == 401],
)
async def test_a_token_of_the_wrong_type_is_refused(
    client: httpx.AsyncClient, rows: Rows, callers: Callers, table: Table, rule: Rule
) -> None:
    account = callers.accounts["superuser"]
    assert account is not None
    refresh_as_access = Account(account.user, {"Authorization": f"Bearer {account.refresh_token}"}, "")

    forged = Callers({"forger": refresh_as_access}, callers.owner)
    response = await forged.send(client, rows, table, rule, "forger")

    assert response.status_code == 401
    assert response.json() == REVOKED
