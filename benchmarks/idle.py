"""What a web process asks its servers for while nobody asks it: `python -m benchmarks.idle [SECONDS]`.

Counted are round trips to PostgreSQL and Valkey per second, of one process that has served requests before, and of the
same process while it serves hits of the cache only.
"""

import sys
import threading
import time

import httpx

from benchmarks.compare.cores import split_cores
from benchmarks.compare.stage import USERNAME, open_servers, run_ours
from tests.support.proxy import CountingProxy, counting_proxy

SECONDS = 15.0
PAUSE_SECONDS = 0.01


def rates(proxies: tuple[CountingProxy, CountingProxy], seconds: float) -> tuple[float, float]:
    before = [proxy.round_trips for proxy in proxies]
    time.sleep(seconds)
    postgres, redis = (proxy.round_trips - number for proxy, number in zip(proxies, before, strict=True))
    return postgres / seconds, redis / seconds


def ask(url: str, enough: threading.Event, statuses: list[str]) -> None:
    with httpx.Client() as client:
        while not enough.is_set():
            statuses.append(client.get(url).headers["x-cache"])
            time.sleep(PAUSE_SECONDS)


def main(seconds: float) -> None:
    with (
        open_servers(split_cores()) as servers,
        counting_proxy(servers.postgres.host, servers.postgres.port) as postgres,
        counting_proxy(servers.valkey.host, servers.valkey.port) as valkey,
    ):
        ports = {f"REDIS_{part}_PORT": str(valkey.port) for part in ("CACHE", "QUEUE", "RATE_LIMIT")}
        with run_ours(servers, POSTGRES_PORT=str(postgres.port), **ports) as ours:
            enough = threading.Event()
            statuses: list[str] = []
            url = f"http://127.0.0.1:{ours.port}/api/v1/user/{USERNAME}"
            clients = threading.Thread(target=ask, args=(url, enough, statuses))
            clients.start()
            time.sleep(1)
            busy = rates((postgres, valkey), seconds)
            enough.set()
            clients.join()
            time.sleep(1)
            idle = rates((postgres, valkey), seconds)
    hits = statuses.count("hit") / len(statuses)
    print(f"idle:         {idle[0]:.2f} round trips a second to PostgreSQL, {idle[1]:.2f} to Valkey")
    print(f"serving hits: {busy[0]:.2f} round trips a second to PostgreSQL ({hits:.1%} of {len(statuses)} were hits)")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)
