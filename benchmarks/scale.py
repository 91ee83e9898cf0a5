"""What a request takes with 1,000 and with 1,000,000 rows: `python -m benchmarks.scale`, two web servers, in turns.

Each database has as many users, and as many posts of one author. No response comes from the cache: pages are read after
a write that drops them (the time is the read's alone), single rows are read once each. Shown are medians.
"""

import argparse
import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from itertools import count
from statistics import median

import httpx

from benchmarks.compare.cores import split_cores
from benchmarks.compare.stage import POSTS, USERNAME, USERS, Servers, execute, log_in, open_servers, run_ours

SMALL, LARGE = 1_000, 1_000_000
_MORE_ROWS = """
INSERT INTO "user" (name, username, email, hashed_password, profile_image_url, is_superuser, tier_id, uuid, is_deleted)
    SELECT 'Name of user ' || n, 'user' || n, 'user' || n || '@example.com', hashed_password, profile_image_url, false,
           1, gen_random_uuid(), false
    FROM generate_series({users} + 1, {rows}) AS n, (SELECT * FROM "user" WHERE id = 1) AS first;
INSERT INTO post (created_by_user_id, title, text, media_url, uuid, is_deleted)
    SELECT 1, 'Title of post ' || n, repeat('All work and no play. ', 3), NULL, gen_random_uuid(), false
    FROM generate_series({posts} + 1, {rows}) AS n;
"""

_numbers = count(10_000_000)
Request = tuple[str, str, Mapping[str, str] | None]
"""Method, path, JSON body."""


def new_user() -> Request:
    name = f"new{next(_numbers)}"
    body = {"name": "A new user", "username": name, "email": f"{name}@example.com", "password": "correct horse"}
    return "POST", "/user", body


def new_post() -> Request:
    return "POST", f"/{USERNAME}/post", {"title": "A new post", "text": "Its text."}


def row(path: str, rows: int) -> Callable[[int], Request]:
    """Another row each time, from all over the table."""
    return lambda turn: ("GET", path.format(turn * 7919 % (rows - 100) + 50), None)


def steps(rows: int) -> dict[str, tuple[Callable[[], Request] | None, Callable[[int], Request]]]:
    """What is done before, untimed, and what is timed."""
    return {
        "users, page 1": (new_user, lambda _: ("GET", "/users?page=1", None)),
        "users, last page": (new_user, lambda _: ("GET", f"/users?page={rows // 10}", None)),
        "users, cursor": (new_user, lambda _: ("GET", "/users?limit=10", None)),
        "posts, page 1": (new_post, lambda _: ("GET", f"/{USERNAME}/posts?page=1", None)),
        "posts, last page": (new_post, lambda _: ("GET", f"/{USERNAME}/posts?page={rows // 10}", None)),
        "posts, cursor": (new_post, lambda _: ("GET", f"/{USERNAME}/posts?limit=10", None)),
        "one user": (None, row("/user/user{}", rows)),
        "one post": (None, row(f"/{USERNAME}/post/{{}}", rows)),
        "create user": (None, lambda _: new_user()),
        "create post": (None, lambda _: new_post()),
        "patch post": (None, lambda turn: ("PATCH", f"/{USERNAME}/post/{turn + 50}", {"title": f"Title {turn}"})),
    }


def fill(servers: Servers, name: str, rows: int) -> None:
    asyncio.run(execute(servers.postgres, "postgres", f"CREATE DATABASE {name} TEMPLATE ours"))
    asyncio.run(execute(servers.postgres, name, _MORE_ROWS.format(users=USERS, posts=POSTS, rows=rows)))
    asyncio.run(execute(servers.postgres, name, "VACUUM ANALYZE"))


def seconds(client: httpx.Client, request: Request) -> float:
    began = time.perf_counter()
    client.request(request[0], request[1], json=request[2]).raise_for_status()
    return time.perf_counter() - began


def measure(clients: Mapping[int, httpx.Client], name: str, turns: int) -> dict[int, float]:
    """Milliseconds by number of rows."""
    measured: dict[int, list[float]] = {rows: [] for rows in clients}
    for turn in range(turns):
        for rows, client in clients.items():
            before, timed = steps(rows)[name]
            if before:
                seconds(client, before())
            measured[rows].append(seconds(client, timed(turn)))
    return {rows: median(values) * 1000 for rows, values in measured.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--large", type=int, default=LARGE, help="rows of the large database (%(default)s)")
    options = parser.parse_args()
    with open_servers(split_cores()) as servers, ExitStack() as stack:
        clients = {}
        for redis_db, rows in enumerate((SMALL, options.large), start=2):
            fill(servers, f"rows{rows}", rows)
            settings = {f"REDIS_{part}_DB": str(redis_db) for part in ("CACHE", "QUEUE", "RATE_LIMIT")}
            settings |= {"POSTGRES_DB": f"rows{rows}", "PASSWORD_HASH_ROUNDS": "4"}
            settings |= {"REGISTRATION_RATE_LIMIT_LIMIT": "1000000"}
            ours = stack.enter_context(run_ours(servers, **settings))
            headers = {"Authorization": f"Bearer {log_in(ours)}"}
            base = f"http://127.0.0.1:{ours.port}/api/v1"
            clients[rows] = stack.enter_context(httpx.Client(base_url=base, headers=headers, timeout=60))
        print(f"| | {SMALL:,} rows | {options.large:,} rows | ratio |\n|---|---:|---:|---:|")
        for name in steps(SMALL):
            small, large = measure(clients, name, options.turns).values()
            print(f"| {name} | {small:.2f} ms | {large:.2f} ms | {large / small:.2f} |", flush=True)


if __name__ == "__main__":
    main()
