"""What Schemathesis loads (`SCHEMATHESIS_HOOKS`): the role's account, rows that exist, and the statuses of a run.

Left alone, generated requests name rows that do not exist, and one that deletes its own account makes all later ones
anonymous. So an account that was lost is replaced, and half of the generated requests name rows of earlier responses.
"""

import asyncio
import atexit
import json
import os
import random
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import schemathesis

API = f"{os.environ['FUZZ_URL']}/api/v1"
ROLE = os.environ["FUZZ_ROLE"]
PASSWORD = os.environ["FUZZ_PASSWORD"]
STATUSES = Path("statuses.json")
MOST_PLACES = 200
MOST_RECENT = 20
_PRODUCERS = {
    "/api/v1/user": ("username", "username"),
    "/api/v1/{username}/post": ("id", "id"),
    "/api/v1/tier": ("name", "name"),
    "/api/v1/tier/{tier_name}/rate_limit": ("id", "id"),
    "/api/v1/tasks/task": ("id", "task_id"),
}
"""For each path that creates something: the field of its response, and the parameter of paths that it is a value of."""

Place = dict[str, Any]
_RULE: Place = {"path": "api/v1/tasks/task", "limit": 1_000_000, "period": 1}
_POST: Place = {"title": "A title", "text": "A text"}


async def _promote(username: str) -> None:
    connection = await asyncpg.connect(os.environ["FUZZ_DATABASE"])
    await connection.execute('UPDATE "user" SET is_superuser = true WHERE username = $1', username)
    await connection.close()


class Account:
    """A new user or superuser, logged in."""

    def __init__(self, number: int, *, is_superuser: bool) -> None:
        # Not a name that the document shows as an example, which generated requests register too.
        self.username = f"{ROLE[:4]}{os.getpid()}x{number}"
        email = f"{self.username}@example.com"
        body = {"name": "Fuzz", "username": self.username, "email": email, "password": PASSWORD}
        httpx.post(f"{API}/user", json=body).raise_for_status()
        if is_superuser:
            asyncio.run(_promote(self.username))
        form = {"username": self.username, "password": PASSWORD}
        login = httpx.post(f"{API}/login", data=form).raise_for_status()
        self.headers = {"Authorization": f"Bearer {login.json()['access_token']}"}


class Run:
    """The accounts of one run, the places of its rows, and its statuses."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._chance = random.Random(1)  # noqa: S311 - a run that can be repeated
        self._places: list[Place] = []
        self.statuses: Counter[int] = Counter()
        self.account: Account | None = None
        self._create_first_rows(self._new_account(is_superuser=True))
        self.replace_account()

    def replace_account(self) -> None:
        if ROLE != "anonymous":
            self.account = self._new_account(is_superuser=ROLE == "superuser")

    def _new_account(self, *, is_superuser: bool) -> Account:
        account = Account(next(self._numbers), is_superuser=is_superuser)
        self._remember({"username": account.username})
        return account

    def _create_first_rows(self, creator: Account) -> None:
        requests: list[tuple[str, Place, Place]] = [
            ("/tier", {}, {"name": f"tier of {creator.username}"}),
            ("/tier/{tier_name}/rate_limit", {"tier_name": f"tier of {creator.username}"}, _RULE),
            ("/{username}/post", {"username": creator.username}, _POST),
        ]
        for template, values, body in requests:
            url = API + template.format(**values)
            response = httpx.post(url, json=body, headers=creator.headers).raise_for_status()
            self.note(f"/api/v1{template}", values, response.json())

    def note(self, template: str, values: Place, created: Place) -> None:
        """Keeps where something is that a response has created."""
        if template in _PRODUCERS:
            field, parameter = _PRODUCERS[template]
            place = {**values, parameter: created[field]}
            self._remember(place if parameter != "name" else {**place, "tier_name": created["name"]})

    def _remember(self, place: Place) -> None:
        self._places = [*self._places[-MOST_PLACES:], place]

    def happens(self) -> bool:
        return self._chance.random() < 0.5

    def place_for(self, parameters: Place) -> Place | None:
        """Values for these parameters that belong together, half of them the account's own."""
        fitting = [place for place in self._places if place.keys() >= parameters.keys()]
        own = [place for place in fitting if self.account and place.get("username") == self.account.username]
        if not fitting:
            return None
        place = self._chance.choice((own if own and self.happens() else fitting)[-MOST_RECENT:])
        return {name: place[name] for name in parameters}


run = Run()
atexit.register(lambda: STATUSES.write_text(json.dumps(run.statuses), encoding="utf-8"))


def _make_acceptable(body: Any, number: int) -> None:
    """Gives a generated user what a schema cannot describe: an address and a URL that pass every check."""
    if isinstance(body, dict) and "email" in body:
        body |= {"email": f"generated{number}@example.com"}
    if isinstance(body, dict) and "profile_image_url" in body:
        body |= {"profile_image_url": "https://example.com/image.png"}


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    if run.account:
        case.headers.update(run.account.headers)
    phase = case.meta.phase.name.value if case.meta else ""
    if phase == "fuzzing" and case.path_parameters and run.happens():
        case.path_parameters = run.place_for(case.path_parameters) or case.path_parameters
    if phase in {"fuzzing", "stateful"} and run.happens():
        _make_acceptable(case.body, run.statuses.total())


@schemathesis.hook
def after_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], response: Any) -> None:
    run.statuses[response.status_code] += 1
    if response.status_code == 201:
        run.note(case.path, case.path_parameters or {}, response.json())
    elif response.status_code == 401 and b"User not authenticated." in response.content:
        run.replace_account()
