"""TLS to a server, to Sentinels and to the nodes of a Cluster, whose certificates are verified."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import pytest

from app.api import router
from app.core.config import Settings
from app.core.redis import open_any_connection, open_client
from app.core.setup import create_application
from dev.services import ValkeyServer, temporary_folder
from tests.conftest import Services
from tests.helper import API, running
from tests.support import cluster as clusters
from tests.support import sentinels as groups
from tests.support.tcp import LOOPBACK_CERTIFICATE
from tests.support.tls_front import TlsFront, tls_front

TIMEOUT = 1.0
RIGHT, WRONG = "127.0.0.1", "127.1"
"""The same address; only the first one is in the certificate."""
Address = Callable[[str], str]


@contextmanager
def server(front: TlsFront) -> Iterator[Address]:
    with temporary_folder() as folder, ValkeyServer(folder / "valkey", password="p@ss") as valkey:
        yield lambda host: f"rediss://:p%40ss@{host}:{front.lead_to(valkey.port)}/0"


@contextmanager
def sentinels(front: TlsFront) -> Iterator[Address]:
    with groups.sentinels(announced=front.lead_to) as group:
        yield lambda host: f"sentinel://:p%40ss@{_hosts(front, host, group.sentinels)}/{groups.SERVICE}/0?tls=true"


@contextmanager
def cluster(front: TlsFront) -> Iterator[Address]:
    with clusters.cluster(announced=front.lead_to) as cluster:
        yield lambda host: f"cluster://:p%40ss@{_hosts(front, host, cluster.nodes)}?tls=true"


def _hosts(front: TlsFront, host: str, servers: Sequence[ValkeyServer]) -> str:
    return ",".join(f"{host}:{front.lead_to(server.port)}" for server in servers)


def settings_of(services: Services, url: str) -> Settings:
    names = ["CACHE", "QUEUE", "RATE_LIMIT"]
    return services.settings(**{f"REDIS_{name}_URL": url for name in (names[-1:] if "cluster" in url else names)})


async def refusal(url: str) -> list[str]:
    """Why our connection and redis-py's client refuse the server."""
    reasons = []
    async with (
        open_any_connection(url, name="test", timeout_seconds=TIMEOUT) as connection,
        open_client(url, timeout_seconds=TIMEOUT) as client,
    ):
        for execute in (connection.execute, client.execute_command):
            try:
                reasons.append(f"accepted: {await execute('SET', 'key', 'value')}")
            except Exception as error:  # noqa: BLE001 - RedisClusterException is no RedisError
                reasons.append(f"{type(error).__name__} {error}")
    return reasons


@pytest.mark.long
@pytest.mark.parametrize("start", [server, sentinels, cluster])
async def test_tls_is_used_for_each_connection_and_certificates_are_verified(
    start: Callable[[TlsFront], AbstractContextManager[Address]], services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tls_front() as front, start(front) as address:
        assert all("CERTIFICATE_VERIFY_FAILED" in reason for reason in await refusal(address(RIGHT)))
        monkeypatch.setenv("SSL_CERT_FILE", str(LOOPBACK_CERTIFICATE))
        for reason in await refusal(address(WRONG)):
            assert "127.1" in reason
            assert "accepted" not in reason
        before = front.encrypted
        app = create_application(router=router, settings=settings_of(services, address(RIGHT)))
        async with running(app) as client:
            assert (await client.get(f"{API}/ready")).status_code == 200
        assert front.encrypted > before
