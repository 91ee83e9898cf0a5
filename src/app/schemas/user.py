from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.core.schemas import CreatedAt, EmailText, HttpUrlText, Id, StrictInput, Text, omitted
from app.core.security import MAX_PASSWORD_BYTES

DEFAULT_PROFILE_IMAGE_URL = "https://profileimageurl.com"
_NAME = Field(description="The displayed name, 2 to 30 characters.", examples=["User Userson"])
_USERNAME = Field(
    description="The unique name in paths, 2 to 20 of `a` to `z` and `0` to `9`.",
    examples=["userson"],
)
_EMAIL = Field(description="The unique email address, stored in lower case.", examples=["user.userson@example.com"])
_IMAGE = Field(
    description="The http or https URL of the profile image.", examples=["https://www.profileimageurl.com/userson.png"]
)
_TIER_ID = Field(description="The `id` of the user's tier, or `null`.", examples=[1])


def _check_password(value: str) -> str:
    if len(value.encode()) > MAX_PASSWORD_BYTES:
        raise ValueError(f"a password has at most {MAX_PASSWORD_BYTES} bytes in UTF-8")
    return value


def normalized_identifier(identifier: str) -> str:
    """A username or email address as it is stored: a login accepts every spelling that the registration does."""
    try:
        return _email.validate_python(identifier)
    except ValidationError:
        return identifier.lower()


Name = Annotated[Text, Field(min_length=2, max_length=30), _NAME]
Username = Annotated[str, Field(min_length=2, max_length=20, pattern=r"^[a-z0-9]+$"), _USERNAME]
Email = Annotated[EmailText, _EMAIL]
_email: TypeAdapter[str] = TypeAdapter(Email)
ProfileImageUrl = Annotated[HttpUrlText, _IMAGE]
Password = Annotated[
    Text,
    AfterValidator(_check_password),
    Field(
        min_length=8,
        max_length=MAX_PASSWORD_BYTES,
        description=f"At least 8 characters and at most {MAX_PASSWORD_BYTES} bytes in UTF-8.",
        examples=["Str1ngst!"],
        repr=False,
    ),
]


class UserBase(BaseModel):
    name: Name
    username: Username
    email: Email


class UserCreate(StrictInput, UserBase):
    """A new user."""

    profile_image_url: ProfileImageUrl = DEFAULT_PROFILE_IMAGE_URL
    password: Password


class UserCreateInternal(UserBase):
    """A user as it is stored."""

    profile_image_url: str = DEFAULT_PROFILE_IMAGE_URL
    hashed_password: Annotated[str, Field(repr=False)]
    is_superuser: bool = False
    tier_id: int | None = None


class UserRead(BaseModel):
    """A user."""

    # The types have no constraints: stored values were checked when they were written.
    model_config = ConfigDict(from_attributes=True)

    id: Annotated[int, Field(description="The user's number.", examples=[1])]
    name: Annotated[str, _NAME]
    username: Annotated[str, _USERNAME]
    email: Annotated[str, _EMAIL]
    profile_image_url: Annotated[str, _IMAGE]
    tier_id: Annotated[int | None, _TIER_ID]


class UserUpdate(StrictInput):
    """The fields of a user to change."""

    name: Name = omitted()
    username: Username = omitted()
    email: Email = omitted()
    profile_image_url: ProfileImageUrl = omitted()


class PasswordUpdate(StrictInput):
    """A change of the caller's password."""

    current_password: Annotated[str, Field(description="The password now.", examples=["Str1ngst!"], repr=False)]
    new_password: Annotated[Password, Field(description="The password from now on.", examples=["An0therstr1ng!"])]


class UserUpdateInternal(UserUpdate):
    updated_at: datetime


class UserTierUpdate(StrictInput):
    """The new tier of a user."""

    tier_id: Annotated[Id, Field(description="The `id` of the tier.", examples=[1])]


class UserDelete(BaseModel):
    is_deleted: bool
    deleted_at: datetime


class UserReadWithTier(UserRead):
    """A user with their tier."""

    tier_id: Annotated[int, Field(description="The `id` of the user's tier.", examples=[1])]
    tier_name: Annotated[str, Field(description="The name of the tier.", examples=["free"])]
    tier_created_at: Annotated[CreatedAt, Field(description="The time of the tier's creation, in UTC.")]
