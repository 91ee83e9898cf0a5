from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Cookie, Depends, Response
from fastapi.security import OAuth2PasswordRequestForm

from app.api.authentication import Passwords
from app.api.dependencies import Crypt, Db, Session
from app.api.responses import errors
from app.core.config import CryptSettings
from app.core.db.crud_token_blacklist import crud_token_blacklist
from app.core.exceptions.http_exceptions import UnauthorizedException
from app.core.schemas import Token
from app.core.security import TokenType, create_token, decode_token, new_family
from app.crud.crud_users import crud_users

router = APIRouter(tags=["login"])

REFRESH_TOKEN_COOKIE = "refresh_token"  # noqa: S105 - a name, not a secret
RefreshTokenCookie = Annotated[str | None, Cookie(alias=REFRESH_TOKEN_COOKIE)]
LoginForm = Annotated[OAuth2PasswordRequestForm, Depends()]


def issue_tokens(response: Response, subject: UUID, family: str, settings: CryptSettings) -> Token:
    """A pair of tokens of the family: one in the answer's body, one in its cookie."""
    response.set_cookie(
        REFRESH_TOKEN_COOKIE,
        create_token(subject, TokenType.REFRESH, family, settings),
        max_age=int(timedelta(days=settings.REFRESH_TOKEN_EXPIRE_DAYS).total_seconds()),
        httponly=True,
        secure=settings.REFRESH_TOKEN_COOKIE_SECURE,
        samesite=settings.REFRESH_TOKEN_COOKIE_SAMESITE,
    )
    response.headers["Cache-Control"] = "no-store"
    return Token(access_token=create_token(subject, TokenType.ACCESS, family, settings), token_type="bearer")  # noqa: S106


@router.post("/login", responses=errors(401, 429))
async def login_for_access_token(
    response: Response, form: LoginForm, db: Db, passwords: Passwords, settings: Crypt
) -> Token:
    credentials = await passwords.credentials(db, form.username, form.password)
    if credentials is None:
        raise UnauthorizedException("Wrong username, email or password.")
    return issue_tokens(response, credentials.user.uuid, new_family(credentials.hashed_password), settings)


@router.post("/refresh", responses=errors(401))
async def refresh_access_token(
    response: Response, session: Session, db: Db, settings: Crypt, refresh_token: RefreshTokenCookie = None
) -> Token:
    if refresh_token is None:
        raise UnauthorizedException("Refresh token missing.")
    claims = decode_token(refresh_token, TokenType.REFRESH, settings)
    user = await crud_users.read_by_session(db, claims) if claims else None
    if claims is None or user is None:
        raise UnauthorizedException("Invalid refresh token.")
    since_first_use = await crud_token_blacklist.retire(session, claims)
    stolen = since_first_use is not None and since_first_use > timedelta(
        seconds=settings.REFRESH_TOKEN_REUSE_GRACE_SECONDS
    )
    if stolen:
        await crud_token_blacklist.end_family(session, claims.family, settings, claims)
    await session.commit()
    if stolen:
        raise UnauthorizedException("Invalid refresh token.")
    return issue_tokens(response, user.uuid, claims.family, settings)
