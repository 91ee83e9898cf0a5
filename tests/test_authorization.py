"""Who may do what: one table, held against the application's own routes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.core.db.crud_token_blacklist import crud_token_blacklist
from app.core.security import TokenType, decode_token
from app.crud.crud_users import crud_users
from tests.helper import API, PASSWORD, Account, Rows

ROLES = ("anonymous", "stranger", "owner", "superuser", "deleted user", "dead token")
NOT_AUTHENTICATED = {"detail": "Not authenticated"}
DEAD = {"detail": "User not authenticated."}
NOT_SUPERUSER = {"detail": "You do not have enough privileges."}
NOT_OWNER = {"detail": "Request forbidden -- authorization will not help"}


@dataclass(frozen=True)
class Rule:
    """An operation, and the status each role gets; `dead` is for a deleted user and a dead token."""

    method: str
    path: str
    anonymous: int
    stranger: int
    owner: int
    superuser: int
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dead(self) -> int:
        return self.anonymous

    def status(self, role: str) -> int:
        return int(getattr(self, role.split(maxsplit=1)[0], self.dead))

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def anyone(method: str, path: str, status: int = 200, **body: Any) -> Rule:
    return Rule(method, path, status, status, status, status, body)


def user(method: str, path: str, status: int = 200, **body: Any) -> Rule:
    return Rule(method, path, 401, status, status, status, body)


def owner(method: str, path: str, status: int = 200, **body: Any) -> Rule:
    return Rule(method, path, 401, 403, status, 403, body)


def superuser(method: str, path: str, status: int = 200, **body: Any) -> Rule:
    return Rule(method, path, 401, 403, 403, status, body)


RULES = [
    anyone("POST", "/login", data={"username": "owner", "password": PASSWORD}),
    anyone("POST", "/refresh"),
    user("POST", "/logout"),
    user("GET", "/user/me"),
    user("GET", "/user/me/"),
    anyone("POST", "/user", 201, json={"name": "New", "username": "new", "email": "n@x.org", "password": PASSWORD}),
    anyone("GET", "/users"),
    anyone("GET", "/user/{username}"),
    owner("PATCH", "/user/{username}", json={"name": "Renamed"}),
    owner("DELETE", "/user/{username}"),
    owner(
        "PATCH", "/user/{username}/password", json={"current_password": PASSWORD, "new_password": "another password"}
    ),
    superuser("DELETE", "/db_user/{username}"),
    superuser("GET", "/user/{username}/rate_limits"),
    anyone("GET", "/user/{username}/tier"),
    superuser("PATCH", "/user/{username}/tier", json={"tier_id": 1}),
    owner("POST", "/{username}/post", 201, json={"title": "Title", "text": "Text"}),
    anyone("GET", "/{username}/posts"),
    anyone("GET", "/{username}/post/{id}"),
    owner("PATCH", "/{username}/post/{id}", json={"title": "Changed"}),
    owner("DELETE", "/{username}/post/{id}"),
    superuser("DELETE", "/{username}/db_post/{id}"),
    superuser("POST", "/tier", 201, json={"name": "pro"}),
    anyone("GET", "/tiers"),
    anyone("GET", "/tier/{name}"),
    superuser("PATCH", "/tier/{name}", json={"name": "gold"}),
    superuser("DELETE", "/tier/{name}"),
    superuser("POST", "/tier/{tier_name}/rate_limit", 201, json={"path": "api/v1/users", "limit": 1, "period": 1}),
    anyone("GET", "/tier/{tier_name}/rate_limits"),
    anyone("GET", "/tier/{tier_name}/rate_limit/{id}"),
    superuser("PATCH", "/tier/{tier_name}/rate_limit/{id}", json={"limit": 7}),
    superuser("DELETE", "/tier/{tier_name}/rate_limit/{id}"),
    anyone("POST", "/tasks/task", 201, params={"message": "hello"}),
    anyone("GET", "/tasks/task/{task_id}"),
    superuser("GET", "/tasks"),
    anyone("GET", "/health"),
    anyone("GET", "/ready"),
]
PATH_VALUES = {"username": "owner", "name": "free", "tier_name": "free", "id": "1", "task_id": ""}


@dataclass(frozen=True, slots=True)
class World:
    """An owner with a post and a tier with a rule, and everybody who may ask for them."""

    accounts: Mapping[str, Account | None]
    path_values: Mapping[str, str]

    async def ask(self, client: httpx.AsyncClient, rule: Rule, role: str) -> httpx.Response:
        account = self.accounts[role]
        headers = dict(account.headers) if account else {}
        token = account.refresh_token if account else self._owner.refresh_token
        cookies = {"refresh_token": token if rule.path == "/logout" else self._owner.refresh_token}
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        path = API + rule.path.format(**self.path_values)
        return await client.request(rule.method, path, headers=headers, **rule.body)

    @property
    def _owner(self) -> Account:
        account = self.accounts["owner"]
        assert account is not None
        return account


@pytest.fixture
async def world(client: httpx.AsyncClient, rows: Rows) -> World:
    owner_account = await rows.user("owner")
    await rows.post(owner_account)
    tier = await rows.tier("free")
    await rows.rate_limit(tier)
    deleted, dead = await rows.user(), await rows.user()
    task = await client.post(f"{API}/tasks/task", params={"message": "hello"})
    accounts = {
        "anonymous": None,
        "stranger": await rows.user(),
        "owner": owner_account,
        "superuser": await rows.superuser(),
        "deleted user": deleted,
        "dead token": dead,
    }
    claims = decode_token(dead.refresh_token, TokenType.REFRESH, rows.settings)
    assert claims is not None
    await crud_users.soft_delete(rows.database, id=deleted.user.id)
    await crud_token_blacklist.end_families(rows.database, {claims.family}, rows.settings)
    return World(accounts, PATH_VALUES | {"task_id": task.json()["id"]})


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("rule", RULES, ids=str)
async def test_each_role_gets_what_the_table_says(
    client: httpx.AsyncClient, world: World, rule: Rule, role: str
) -> None:
    answer = await world.ask(client, rule, role)

    assert answer.status_code == rule.status(role), answer.text
    if answer.status_code == 401:
        assert answer.json() == (NOT_AUTHENTICATED if role == "anonymous" else DEAD)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    if answer.status_code == 403:
        only_superusers = rule.superuser < 400
        assert answer.json() == (NOT_SUPERUSER if only_superusers else NOT_OWNER)


def test_the_table_has_every_operation(application: FastAPI) -> None:
    operations = {
        (method, (context.path or "").removeprefix(API))
        for context in iter_route_contexts(application.routes)
        for method in context.methods or set()
        if (context.path or "").startswith(API)
    }

    assert {(rule.method, rule.path) for rule in RULES} == operations


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.anonymous == 401], ids=str)
async def test_a_token_of_the_wrong_type_is_no_token(client: httpx.AsyncClient, world: World, rule: Rule) -> None:
    account = world.accounts["superuser"]
    assert account is not None
    refresh_as_access = Account(account.user, {"Authorization": f"Bearer {account.refresh_token}"}, "")

    answer = await World({**world.accounts, "forger": refresh_as_access}, world.path_values).ask(client, rule, "forger")

    assert answer.status_code == 401
    assert answer.json() == DEAD
