"""Clients with their model: what each acknowledged change obliges later responses to say.

Each client owns what it changes, so that its own order of operations is the only one.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx

from dev.chaos.api import Api

PASSWORD = "a password of a client"  # noqa: S105 - of accounts that live as long as the run
MAX_POSTS = 40
OPERATIONS_PER_USER = 60
PAUSE_SECONDS = 0.01
_numbers = count(1)


@dataclass
class User:
    """What is known of one user; `posts` are titles by id, `uncertain` are posts whose last change is unknown."""

    username: str
    token: str
    posts: dict[int, str] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)
    uncertain: set[int] = field(default_factory=set)
    former_names: list[str] = field(default_factory=list)
    lost_track: bool = False


class UserClient:
    """Registers, writes, renames and reads as one user after another."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.users: list[User] = []

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            user = await self._register()
            if user is None:
                await asyncio.sleep(PAUSE_SECONDS * 10)
                continue
            self.users.append(user)
            for _ in range(OPERATIONS_PER_USER):
                if stop.is_set() or user.lost_track:
                    break
                await self._api.rng.choice(self._operations())(user)
                await asyncio.sleep(PAUSE_SECONDS)

    def _operations(self) -> list[Callable[[User], Coroutine[Any, Any, None]]]:
        writes = [self._create, self._create, self._change, self._delete, self._rename]
        return [*writes, self._read_post, self._read_post, self._compare_list, self._compare_list, self._read_names]

    async def _register(self) -> User | None:
        name = f"c{next(_numbers)}x{self._api.rng.randrange(10**8)}"
        body = {"name": "Chaos", "username": name, "email": f"{name}@example.com", "password": PASSWORD}
        registered = await self._api.call("register", "POST", "/user", json=body)
        login = await self._api.log_in(name, PASSWORD) if registered else None
        return User(name, login.json()["access_token"]) if login else None

    async def _create(self, user: User) -> None:
        if len(user.posts) >= MAX_POSTS:
            return
        title = f"title {next(_numbers)}"
        body = {"title": title, "text": "text"}
        response = await self._api.call("create post", "POST", f"/{user.username}/post", user.token, json=body)
        if response and self._expect(response, 201):
            user.posts[response.json()["id"]] = title

    async def _change(self, user: User) -> None:
        if not user.posts:
            return
        post, title = self._api.rng.choice(list(user.posts)), f"title {next(_numbers)}"
        path = f"/{user.username}/post/{post}"
        response = await self._api.call("change post", "PATCH", path, user.token, json={"title": title})
        if response is None:
            self._lose_post(user, post)
        elif self._expect(response, 200):
            user.posts[post] = title

    async def _delete(self, user: User) -> None:
        if not user.posts:
            return
        post = self._api.rng.choice(list(user.posts))
        response = await self._api.call("delete post", "DELETE", f"/{user.username}/post/{post}", user.token)
        if response is None:
            self._lose_post(user, post)
        elif self._expect(response, 200):
            del user.posts[post]
            user.deleted.add(post)

    async def _rename(self, user: User) -> None:
        name = f"r{next(_numbers)}x{self._api.rng.randrange(10**8)}"
        body = {"username": name}
        response = await self._api.call("rename", "PATCH", f"/user/{user.username}", user.token, json=body)
        if response is None:
            user.lost_track = True
        elif self._expect(response, 200):
            user.former_names.append(user.username)
            user.username = name

    async def _read_post(self, user: User) -> None:
        known = [*user.posts, *user.deleted]
        if not known:
            return
        post = self._api.rng.choice(known)
        response = await self._api.call("read post", "GET", f"/{user.username}/post/{post}")
        if response is None:
            return
        expected = user.posts.get(post)
        shown = response.json()["title"] if response.is_success else None
        if shown != expected:
            self._api.report.violate("stale read", f"post {post}: {shown!r} instead of {expected!r}")

    async def _compare_list(self, user: User) -> None:
        await self._read_list(user, "stale read")

    async def _read_list(self, user: User, kind: str) -> bool:
        """Compares the list with the model; False if there was no response."""
        response = await self._api.call("read list", "GET", f"/{user.username}/posts?items_per_page=100")
        if response is None:
            return False
        rows = response.json()["data"] if response.is_success else []
        shown = {row["id"]: row["title"] for row in rows}
        certain = {post: shown.get(post) for post in user.posts}
        if certain != user.posts or user.deleted & shown.keys():
            self._api.report.violate(kind, f"list of {user.username}: {certain} instead of {user.posts}")
        return True

    async def _read_names(self, user: User) -> None:
        for name, exists in ((user.username, True), *((each, False) for each in user.former_names[-1:])):
            response = await self._api.call("read user", "GET", f"/user/{name}")
            if response is not None and response.is_success is not exists:
                self._api.report.violate("stale read", f"user {name}: {response.status_code}, exists: {exists}")

    def _lose_post(self, user: User, post: int) -> None:
        del user.posts[post]
        user.uncertain.add(post)

    def _expect(self, response: httpx.Response, status: int) -> bool:
        if response.status_code != status:
            what = f"{response.request.method} {response.request.url}: {response.text[:200]}"
            self._api.report.violate("unexpected response", f"{response.status_code} instead of {status}: {what}")
        return response.status_code == status

    async def verify(self) -> None:
        """Every acknowledged change is there in the end."""
        for user in self.users:
            while not user.lost_track and not await self._read_list(user, "lost acknowledged write"):  # noqa: ASYNC110 - until a server responds
                await asyncio.sleep(PAUSE_SECONDS * 10)


class SessionClient:
    """Logs in and out: a revoked token never opens anything again, at any server."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def run(self, stop: asyncio.Event) -> None:
        name = f"s{next(_numbers)}x{self._api.rng.randrange(10**8)}"
        body = {"name": "Chaos", "username": name, "email": f"{name}@example.com", "password": PASSWORD}
        while not stop.is_set():
            await self._api.call("register", "POST", "/user", json=body)
            login = await self._api.log_in(name, PASSWORD)
            if login:
                await self._log_out(login)
            await asyncio.sleep(PAUSE_SECONDS * 10)

    async def _log_out(self, login: httpx.Response) -> None:
        token, cookies = login.json()["access_token"], {"Cookie": login.headers["set-cookie"].partition(";")[0]}
        response = await self._api.call("log out", "POST", "/logout", token, headers=cookies)
        if response is None or not response.is_success:
            return
        for _ in range(3):
            later = await self._api.call("use a revoked token", "GET", "/user/me/", token)
            if later is not None and later.is_success:
                self._api.report.violate("revoked token accepted", str(later.request.url))
