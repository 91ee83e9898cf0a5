from fastapi import APIRouter, Response

from app.api.authentication import Hasher, Passwords
from app.api.dependencies import Crypt, Db, Events, SelfUser
from app.api.responses import errors, unprocessable
from app.api.v1.login import issue_tokens
from app.core.exceptions.http_exceptions import UnprocessableEntityException
from app.core.schemas import Token
from app.core.security import new_family
from app.crud.crud_users import crud_users
from app.schemas.user import PasswordUpdate

router = APIRouter(tags=["users"])

WRONG_PASSWORD = unprocessable("The current password is wrong.", "The current password is wrong.")


@router.patch("/user/{username}/password", summary="Change the password", responses=errors(WRONG_PASSWORD))
async def patch_password(
    response: Response,
    user: SelfUser,
    values: PasswordUpdate,
    db: Db,
    passwords: Passwords,
    hasher: Hasher,
    settings: Crypt,
    events: Events,
) -> Token:
    """For the user only. Every session of the user ends; the response starts a new one.

    A wrong current password counts as a failed login.
    """
    old = await crud_users.read_password_hash(db, user)
    matches = await passwords.matches(str(user.uuid), values.current_password, old)
    if old is None or not matches:
        raise UnprocessableEntityException("The current password is wrong.")
    new = await hasher.hash(values.new_password)
    if not await crud_users.replace_password_hash(db, user, old, new):
        raise UnprocessableEntityException("The current password is wrong.")
    events.session_revoked("password_change")
    return issue_tokens(response, user.uuid, new_family(new), settings)
