"""Users, and the statement that every request with a token runs."""

from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import and_, bindparam, exists, func, or_, select, update

from app.core.db.database import Database
from app.core.db.statements import Row
from app.core.db.token_blacklist import TokenBlacklist
from app.core.exceptions.data_exceptions import RowNotFoundError
from app.core.security import TokenClaims
from app.crud.crud_base import CRUDBase
from app.crud.crud_rate_limit import MATCHES_PATHS, RULE_COLUMNS, RulePaths, TierRule
from app.crud.helper import Listed, Listing, Window, columns, visible
from app.models.rate_limit import RateLimit
from app.models.tier import Tier
from app.models.user import User
from app.schemas.user import (
    UserCreateInternal,
    UserRead,
    UserReadWithTier,
    UserTierUpdate,
    UserUpdate,
    normalized_identifier,
)


@dataclass(frozen=True, slots=True)
class StoredUser:
    """A user as the code passes it between its layers, without the password's hash."""

    id: int
    uuid: UUID
    name: str
    username: str
    email: str
    profile_image_url: str
    tier_id: int | None
    is_superuser: bool


@dataclass(frozen=True, slots=True)
class UserWithRules(StoredUser):
    """A user, and the rules of its tier for the paths of one request."""

    rules: tuple[TierRule, ...] = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a login is checked against."""

    user: StoredUser
    hashed_password: str


_COLUMNS = [getattr(User, name) for name in StoredUser.__dataclass_fields__]
_BY_USERNAME = select(*_COLUMNS).where(User.username == bindparam("username"), visible(User))
_FOR_LOGIN = select(*_COLUMNS, User.hashed_password).where(
    or_(User.username == bindparam("identifier"), User.email == bindparam("identifier")), visible(User)
)
_BY_SESSION = select(*_COLUMNS, User.hashed_password).where(
    User.uuid == bindparam("uuid"), visible(User), ~exists().where(TokenBlacklist.token == bindparam("family"))
)
_BY_SESSION_WITH_RULES = _BY_SESSION.add_columns(*RULE_COLUMNS).outerjoin(
    RateLimit,
    and_(RateLimit.tier_id == User.tier_id, MATCHES_PATHS),
)
_PASSWORD_HASH = select(User.hashed_password).where(User.id == bindparam("id"), visible(User))
_REPLACE_PASSWORD_HASH = (
    update(User)
    .where(User.id == bindparam("of"), User.hashed_password == bindparam("old"), visible(User))
    .values(hashed_password=bindparam("new"), updated_at=func.now())
    .returning(User.id)
)
_JOIN_TIER = (
    update(User)
    .where(User.username == bindparam("of"), visible(User))
    .values(tier_id=bindparam("new"), updated_at=func.now())
    .returning(User.name)
)
_WITH_TIER = (
    select(*columns(User, UserRead), Tier.name.label("tier_name"), Tier.created_at.label("tier_created_at"))
    .outerjoin(Tier, User.tier_id == Tier.id)
    .where(User.username == bindparam("username"), visible(User))
)
_LISTING = Listing(User, UserRead, counted=True)


def _stored(row: Row) -> StoredUser:
    return StoredUser(*row[: len(_COLUMNS)])


class CRUDUser(CRUDBase[User, UserCreateInternal, UserUpdate, UserRead]):
    """Users that are not soft-deleted, unless a method's docstring says otherwise."""

    async def read(self, database: Database, username: str) -> StoredUser:
        row = await database.fetch_one(_BY_USERNAME, {"username": username})
        if row is None:
            raise RowNotFoundError(self.entity)
        return _stored(row)

    async def read_page(self, database: Database, window: Window) -> Listed:
        return await _LISTING.fetch(database, window)

    async def read_credentials(self, database: Database, identifier: str) -> Credentials | None:
        """By username or email, in any spelling that registers as the same."""
        row = await database.fetch_one(_FOR_LOGIN, {"identifier": normalized_identifier(identifier)})
        return Credentials(_stored(row), row.hashed_password) if row else None

    async def read_by_session(self, database: Database, claims: TokenClaims) -> StoredUser | None:
        """The token's user; None if the session is revoked or the user deleted. One round trip."""
        row = await database.fetch_one(_BY_SESSION, {"uuid": claims.subject, "family": claims.family_digest})
        return _stored(row) if row and claims.began_with(row.hashed_password) else None

    async def read_password_hash(self, database: Database, user: StoredUser) -> str | None:
        row = await database.fetch_one(_PASSWORD_HASH, {"id": user.id})
        return row.hashed_password if row else None

    async def replace_password_hash(self, database: Database, user: StoredUser, old: str, new: str) -> bool:
        """Whether the old hash was still the stored one; of two simultaneous changes exactly one is made."""
        return bool(await database.execute(_REPLACE_PASSWORD_HASH, {"of": user.id, "old": old, "new": new}))

    async def join_tier(self, database: Database, username: str, values: UserTierUpdate) -> str:
        """Moves a user to a tier; returns the user's name."""
        rows = await database.execute(_JOIN_TIER, {"of": username, "new": values.tier_id})
        if not rows:
            raise RowNotFoundError(self.entity)
        return str(rows[0].name)

    async def read_by_session_with_rules(
        self, database: Database, claims: TokenClaims, paths: RulePaths
    ) -> UserWithRules | None:
        """`read_by_session` and, in the same round trip, the rules of the user's tier for these paths."""
        parameters = {
            "uuid": claims.subject,
            "family": claims.family_digest,
            "literal": paths.literal,
            "template": paths.template,
        }
        rows = await database.fetch_all(_BY_SESSION_WITH_RULES, parameters)
        if not rows or not claims.began_with(rows[0].hashed_password):
            return None
        rules = (row[-len(RULE_COLUMNS) :] for row in rows)
        found = tuple(TierRule(*rule) for rule in rules if rule[0] is not None)
        return UserWithRules(*rows[0][: len(_COLUMNS)], rules=found)

    async def read_with_tier(self, database: Database, username: str) -> UserReadWithTier | None:
        """The user together with its tier; None if it has none."""
        row = await database.fetch_one(_WITH_TIER, {"username": username})
        if row is None:
            raise RowNotFoundError(self.entity)
        return UserReadWithTier.model_validate(row, from_attributes=True) if row.tier_name is not None else None


crud_users = CRUDUser(User)
