"""Creates the superuser that the settings describe; changes nothing if it exists.

python -m src.scripts.create_first_superuser
"""

import asyncio
import sys

from pydantic import ValidationError
from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError

from app.api import router
from app.api.routes import reserved_names
from app.core.config import settings
from app.core.db.database import Database
from app.core.security import get_password_hash
from app.crud.crud_users import crud_users
from app.models.user import User
from app.schemas.user import UserCreate, UserCreateInternal, UserRead
from src.scripts.first_rows import ScriptError, explain, refuse_placeholders, run


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


async def _is_there(database: Database, wanted: UserCreate) -> bool:
    same = or_(User.username == wanted.username, User.email == wanted.email)
    found = await database.fetch_all(select(User.username, User.is_superuser, User.is_deleted).where(same))
    if any(row.username == wanted.username and row.is_superuser and not row.is_deleted for row in found):
        return True
    if found:
        raise ScriptError("ADMIN_USERNAME or ADMIN_EMAIL belongs to a user who is deleted or no superuser")
    return False


async def create_superuser(database: Database) -> str:
    wanted = _wanted_user()
    known = f"superuser {wanted.username} exists already"
    if await _is_there(database, wanted):
        return known
    hashed_password = await asyncio.to_thread(get_password_hash, wanted.password)
    user = UserCreateInternal(
        **wanted.model_dump(exclude={"password"}), hashed_password=hashed_password, is_superuser=True
    )
    try:
        async with database.sessions() as db:
            await crud_users.add(db, user, UserRead)
    except IntegrityError:
        # Somebody was quicker: another run of this script, or a user who took the name.
        if not await _is_there(database, wanted):
            raise
        return known
    return f"superuser {wanted.username} created"


def main() -> int:
    return run(create_superuser)


if __name__ == "__main__":
    sys.exit(main())
