"""Creates the superuser that the settings describe; changes nothing if it exists.

python -m src.scripts.create_first_superuser [--reset-password]
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError

from app.api import router
from app.api.routes import reserved_names
from app.core.config import settings
from app.core.db.database import Database
from app.core.security import get_password_hash, verify_password
from app.crud.crud_users import crud_users
from app.models.user import User
from app.schemas.user import UserCreate, UserCreateInternal, UserRead
from src.scripts.first_rows import ScriptError, explain, refuse_placeholders, run

COMMAND = "python -m src.scripts.create_first_superuser"


@dataclass(frozen=True, slots=True)
class Superuser:
    """What was done, in one line, and whether ADMIN_PASSWORD is the user's password."""

    line: str
    can_log_in: bool


class _Password(BaseModel):
    hashed_password: str


def _wanted_user() -> UserCreate:
    variables = {
        "name": settings.ADMIN_NAME,
        "email": settings.ADMIN_EMAIL,
        "username": settings.ADMIN_USERNAME,
        "password": settings.ADMIN_PASSWORD,
    }
    refuse_placeholders({f"ADMIN_{name.upper()}": value for name, value in variables.items()})
    if settings.ADMIN_USERNAME in reserved_names(router.routes):
        raise ScriptError("ADMIN_USERNAME: a route of the API needs this name, choose another")
    try:
        return UserCreate.model_validate(variables)
    except ValidationError as error:
        raise explain(error, "ADMIN_") from None


async def _find(database: Database, wanted: UserCreate) -> str | None:
    """The password hash of the wanted superuser; None if it does not exist and the names are free."""
    same = or_(User.username == wanted.username, User.email == wanted.email)
    columns = (User.username, User.is_superuser, User.is_deleted, User.hashed_password)
    found = await database.fetch_all(select(*columns).where(same))
    for row in found:
        if row.username == wanted.username and row.is_superuser and not row.is_deleted:
            return str(row.hashed_password)
    if found:
        raise ScriptError("ADMIN_USERNAME or ADMIN_EMAIL belongs to a user who is deleted or not a superuser")
    return None


async def _hash(password: str) -> str:
    return await asyncio.to_thread(get_password_hash, password, settings.PASSWORD_HASH_ROUNDS)


async def _keep(wanted: UserCreate, stored_hash: str) -> Superuser:
    matches = await asyncio.to_thread(verify_password, wanted.password, stored_hash)
    line = f"superuser {wanted.username} exists already and was not changed"
    how = "" if matches else f"; its password is not ADMIN_PASSWORD, which `{COMMAND} --reset-password` sets"
    return Superuser(line + how, can_log_in=matches)


async def create_superuser(database: Database) -> Superuser:
    """Raises `ScriptError` if the settings do not describe a possible user, or another user has the name or email."""
    wanted = _wanted_user()
    stored_hash = await _find(database, wanted)
    if stored_hash is not None:
        return await _keep(wanted, stored_hash)
    user = UserCreateInternal(
        **wanted.model_dump(exclude={"password"}), hashed_password=await _hash(wanted.password), is_superuser=True
    )
    try:
        await crud_users.add(database, user, UserRead)
    except IntegrityError:
        # Another run of this script was faster, or a user has taken the name.
        stored_hash = await _find(database, wanted)
        if stored_hash is None:
            raise
        return await _keep(wanted, stored_hash)
    return Superuser(f"superuser {wanted.username} created", can_log_in=True)


async def reset_password(database: Database) -> Superuser:
    """Sets the password to ADMIN_PASSWORD, which ends every session of the user; creates the user if it is missing."""
    wanted = _wanted_user()
    if await _find(database, wanted) is None:
        return await create_superuser(database)
    await crud_users.change(database, _Password(hashed_password=await _hash(wanted.password)), username=wanted.username)
    line = f"superuser {wanted.username} has ADMIN_PASSWORD as its password now, and all its sessions have ended"
    return Superuser(line, can_log_in=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Creates the superuser that the settings describe.")
    parser.add_argument("--reset-password", action="store_true", help="set the password of an existing superuser")
    action = reset_password if parser.parse_args(arguments).reset_password else create_superuser

    async def create(database: Database) -> str:
        return (await action(database)).line

    return run(create)


if __name__ == "__main__":
    sys.exit(main())
