"""Three primaries with a replica each, which promote themselves soon after a primary is lost."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from redis import Redis

from dev.local.ports import free_port
from dev.local.processes import wait_until
from dev.services import ValkeyServer, temporary_folder

PASSWORD = "p@ss"
PRIMARIES = 3
SLOTS = 16384
NODE_TIMEOUT_MILLISECONDS = 1000
_START_SECONDS = 20


@dataclass(frozen=True)
class Cluster:
    """The first three are the primaries at the beginning, the next three their replicas in the same order."""

    nodes: Sequence[ValkeyServer]

    @property
    def url(self) -> str:
        return self.url_of("")

    def url_of(self, user: str) -> str:
        """With the last of each, so that the others have to be found."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in (self.nodes[2], self.nodes[5]))
        return f"cluster://{user}:p%40ss@{hosts}"

    def send(self, node: int, *command: object) -> Any:
        """A command to one node itself."""
        with Redis(port=self.nodes[node].port, password=PASSWORD, decode_responses=True) as client:
            return client.execute_command(*command)

    def begin_to_move(self, slot: int, source: int, target: int) -> None:
        """From now on the source sends callers that ask for a key that it does not have to the target."""
        self.send(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.send(source, "CLUSTER", "MYID"))
        self.send(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.send(target, "CLUSTER", "MYID"))

    def move(self, slot: int, source: int, target: int) -> None:
        """Moves a slot with its keys, one after another, as a resharding does."""
        self.begin_to_move(slot, source, target)
        new_owner = self.send(target, "CLUSTER", "MYID")
        where = ("127.0.0.1", self.nodes[target].port, "", 0, 5000, "AUTH", PASSWORD, "KEYS")
        while keys := self.send(source, "CLUSTER", "GETKEYSINSLOT", slot, 10):
            self.send(source, "MIGRATE", *where, *keys)
        for node in (target, source):
            self.send(node, "CLUSTER", "SETSLOT", slot, "NODE", new_owner)

    def is_complete(self) -> bool:
        """Whether every living node sees all slots served."""
        living = [number for number, node in enumerate(self.nodes) if node.running]
        return all("cluster_state:ok" in self.send(number, "CLUSTER", "INFO") for number in living)

    def _has_replicas(self) -> bool:
        replicas = range(PRIMARIES, 2 * PRIMARIES)
        return all(self.send(node, "INFO", "replication").get("master_link_status") == "up" for node in replicas)


def _join(cluster: Cluster) -> None:
    share = SLOTS // PRIMARIES + 1
    for number in range(PRIMARIES):
        first = number * share
        cluster.send(number, "CLUSTER", "ADDSLOTSRANGE", first, min(first + share, SLOTS) - 1)
    for number in range(1, 2 * PRIMARIES):
        other = cluster.nodes[number]
        options = dict(zip(other.options, other.options[1:], strict=False))
        ports = (options["--cluster-announce-port"], options["--cluster-port"])
        cluster.send(0, "CLUSTER", "MEET", "127.0.0.1", *ports)
    for number in range(PRIMARIES):
        primary_id, replica = cluster.send(number, "CLUSTER", "MYID"), number + PRIMARIES
        assert wait_until(lambda: primary_id in cluster.send(replica, "CLUSTER", "NODES"), _START_SECONDS)  # noqa: B023
        cluster.send(replica, "CLUSTER", "REPLICATE", primary_id)


@contextmanager
def cluster(announced: Callable[[int], int] = lambda port: port) -> Iterator[Cluster]:
    """Started, with all slots served and all replicas in step.

    `announced` is the port at which clients and other nodes find the node of a port.
    """
    with temporary_folder() as folder, ExitStack() as stack:
        nodes = []
        for number in range(2 * PRIMARIES):
            port = free_port()
            options = {
                "cluster-enabled": "yes",
                "cluster-announce-port": str(announced(port)),
                "cluster-port": str(free_port()),
                "cluster-node-timeout": str(NODE_TIMEOUT_MILLISECONDS),
                "cluster-replica-validity-factor": "0",
                "primaryauth": PASSWORD,
                "repl-diskless-sync-delay": "0",
            }
            flat = tuple(part for name, value in options.items() for part in (f"--{name}", value))
            node = ValkeyServer(folder / str(number), port=port, password=PASSWORD, options=flat)
            nodes.append(stack.enter_context(node))
        cluster = Cluster(nodes)
        _join(cluster)
        assert wait_until(lambda: cluster.is_complete() and cluster._has_replicas(), _START_SECONDS)
        yield cluster
