from fastapi import APIRouter, Response

from app.api.dependencies import Crypt, CurrentCaller, Db, Events
from app.api.responses import errors, message, unauthorized
from app.api.v1.login import REFRESH_TOKEN_COOKIE, RefreshTokenCookie
from app.core.db.crud_token_blacklist import crud_token_blacklist
from app.core.exceptions.http_exceptions import UnauthorizedException
from app.core.schemas import Message
from app.core.security import TokenType, decode_token

router = APIRouter(tags=["login"])

NO_REFRESH_TOKEN = unauthorized("Refresh token not found", "The request has no refresh token.")
FOREIGN_REFRESH_TOKEN = unauthorized("Invalid token.", "The refresh token is invalid, or another user's.")


@router.post(
    "/logout",
    summary="Log out",
    responses=message("Logged out successfully") | errors(NO_REFRESH_TOKEN, FOREIGN_REFRESH_TOKEN),
)
async def logout(
    response: Response,
    caller: CurrentCaller,
    db: Db,
    settings: Crypt,
    events: Events,
    refresh_token: RefreshTokenCookie = None,
) -> Message:
    """Revokes every token of the session and deletes the cookie `refresh_token`."""
    if refresh_token is None:
        raise UnauthorizedException("Refresh token not found")
    claims = decode_token(refresh_token, TokenType.REFRESH, settings)
    if claims is None or claims.subject != caller.user.uuid:
        raise UnauthorizedException("Invalid token.")
    await crud_token_blacklist.end_families(db, {caller.claims.family, claims.family}, settings, claims)
    events.session_revoked("logout")
    response.delete_cookie(
        REFRESH_TOKEN_COOKIE,
        httponly=True,
        secure=settings.REFRESH_TOKEN_COOKIE_SECURE,
        samesite=settings.REFRESH_TOKEN_COOKIE_SAMESITE,
    )
    return Message(message="Logged out successfully")
