from fastapi import APIRouter, Response

from app.api.dependencies import Crypt, CurrentCaller, Session
from app.api.responses import errors
from app.api.v1.login import REFRESH_TOKEN_COOKIE, RefreshTokenCookie
from app.core.db.crud_token_blacklist import crud_token_blacklist
from app.core.exceptions.http_exceptions import UnauthorizedException
from app.core.schemas import Message
from app.core.security import TokenType, decode_token

router = APIRouter(tags=["login"])


@router.post("/logout", responses=errors(401))
async def logout(
    response: Response,
    caller: CurrentCaller,
    session: Session,
    settings: Crypt,
    refresh_token: RefreshTokenCookie = None,
) -> Message:
    if refresh_token is None:
        raise UnauthorizedException("Refresh token not found")
    claims = decode_token(refresh_token, TokenType.REFRESH, settings)
    if claims is None or claims.subject != caller.user.uuid:
        raise UnauthorizedException("Invalid token.")
    for family in {caller.claims.family, claims.family}:
        await crud_token_blacklist.end_family(session, family, settings, claims)
    await session.commit()
    response.delete_cookie(
        REFRESH_TOKEN_COOKIE,
        httponly=True,
        secure=settings.REFRESH_TOKEN_COOKIE_SECURE,
        samesite=settings.REFRESH_TOKEN_COOKIE_SAMESITE,
    )
    return Message(message="Logged out successfully")
