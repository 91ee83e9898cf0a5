"""A primary, its replica, and three Sentinels that promote the replica soon after the primary is lost."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from dev.local.ports import free_port
from dev.local.processes import wait_until
from dev.local.programs import valkey_program
from dev.local.server import Launch
from dev.services import ValkeyServer, temporary_folder

SERVICE = "tasks"
PASSWORD = "p@ss"
DOWN_AFTER_MILLISECONDS = 1000
_QUICK = "info-period 100 publish-period 100 ask-period 100 election-timeout 1000"
_START_SECONDS = 20


class SentinelServer(ValkeyServer):
    """One Sentinel; it writes what it finds out into its configuration."""

    name = "Sentinel"

    def __init__(self, data: Path, primary_port: int) -> None:
        super().__init__(data)
        self._primary_port = primary_port

    def _prepare(self) -> Launch:
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f'dir "{self.data}"',
            f'pidfile "{self._pid_file}"',
            f"sentinel monitor {SERVICE} 127.0.0.1 {self._primary_port} 2",
            f"sentinel auth-pass {SERVICE} {PASSWORD}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MILLISECONDS}",
            f"sentinel failover-timeout {SERVICE} 2000",
        ]
        configuration = self.data / "sentinel.conf"
        if not configuration.exists():
            configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return Launch([str(valkey_program()), str(configuration), "--sentinel"])


@dataclass(frozen=True)
class Group:
    """Two servers, of which the first is the primary at the beginning."""

    servers: tuple[ValkeyServer, ValkeyServer]
    sentinels: tuple[SentinelServer, ...]

    @property
    def url(self) -> str:
        """With the first Sentinel's host as a name, and a database."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"sentinel://:p%40ss@{hosts}/{SERVICE}/0"

    def primary_port(self) -> int:
        """Where the first Sentinel says that the primary is."""
        return _named_port(self.sentinels[0])

    def name(self, server: ValkeyServer) -> bool:
        """Whether all Sentinels say that this is the primary."""
        return {server.port} == set(map(_named_port, self.sentinels))

    def _is_complete(self) -> bool:
        return all(map(_knows_the_others, self.sentinels))


def _named_port(sentinel: SentinelServer) -> int:
    with Redis(port=sentinel.port, decode_responses=True) as client:
        return int(client.sentinel_get_master_addr_by_name(SERVICE)[1])


def _knows_the_others(sentinel: SentinelServer) -> bool:
    with Redis(port=sentinel.port, decode_responses=True) as client:
        state = client.sentinel_master(SERVICE)
        return (state["num-other-sentinels"], state["num-slaves"], state["flags"]) == (2, 1, "master")


def _has_copy(replica: ValkeyServer) -> bool:
    with Redis(port=replica.port, password=PASSWORD) as client:
        return bool(client.info("replication")["master_link_status"] == "up")


def _server(data: Path, options: Sequence[str], announced: Callable[[int], int]) -> ValkeyServer:
    port = free_port()
    where = ("--replica-announce-port", str(announced(port)))
    return ValkeyServer(data, port=port, password=PASSWORD, options=(*options, *where))


@contextmanager
def sentinels(
    options: Sequence[str] = ("--appendonly", "no"), announced: Callable[[int], int] = lambda port: port
) -> Iterator[Group]:
    """Started, and ready for the first failover. The options are those of the two servers.

    `announced` is the port at which clients and Sentinels find the server of a port.
    """
    with temporary_folder() as folder, ExitStack() as stack:
        common = ("--primaryauth", PASSWORD, "--repl-diskless-sync-delay", "0", *options)
        first = _server(folder / "first", common, announced)
        stack.enter_context(first)
        following = (*common, "--replicaof", "127.0.0.1", str(announced(first.port)))
        second = stack.enter_context(_server(folder / "second", following, announced))
        assert wait_until(lambda: _has_copy(second), _START_SECONDS)
        watching = tuple(
            stack.enter_context(SentinelServer(folder / f"sentinel-{number}", announced(first.port)))
            for number in range(3)
        )
        for sentinel in watching:
            with Redis(port=sentinel.port) as client:
                client.execute_command("SENTINEL", "DEBUG", *_QUICK.split())
        group = Group((first, second), watching)
        assert wait_until(group._is_complete, _START_SECONDS)
        yield group
