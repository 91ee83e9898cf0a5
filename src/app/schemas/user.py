from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, EmailStr, Field

from app.core.schemas import HttpUrlText, Id, StrictInput, Text, omitted
from app.core.security import MAX_PASSWORD_BYTES

DEFAULT_PROFILE_IMAGE_URL = "https://profileimageurl.com"


def _check_password(value: str) -> str:
    if len(value.encode()) > MAX_PASSWORD_BYTES:
        raise ValueError(f"a password has at most {MAX_PASSWORD_BYTES} bytes in UTF-8")
    return value


Name = Annotated[Text, Field(min_length=2, max_length=30, examples=["User Userson"])]
Username = Annotated[str, Field(min_length=2, max_length=20, pattern=r"^[a-z0-9]+$", examples=["userson"])]
Email = Annotated[EmailStr, AfterValidator(str.lower), Field(max_length=254, examples=["user.userson@example.com"])]
Password = Annotated[
    Text,
    AfterValidator(_check_password),
    Field(min_length=8, max_length=MAX_PASSWORD_BYTES, examples=["Str1ngst!"], repr=False),
]


class UserBase(BaseModel):
    name: Name
    username: Username
    email: Email


class UserCreate(StrictInput, UserBase):
    profile_image_url: HttpUrlText = DEFAULT_PROFILE_IMAGE_URL
    password: Password


class UserCreateInternal(UserBase):
    """A user as it is stored."""

    profile_image_url: str = DEFAULT_PROFILE_IMAGE_URL
    hashed_password: Annotated[str, Field(repr=False)]
    is_superuser: bool = False


class UserRead(BaseModel):
    """What anybody may see. It is not checked again: what is in the table was checked on its way in."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    username: str
    email: str
    profile_image_url: str
    tier_id: int | None


class UserUpdate(StrictInput):
    name: Name = omitted()
    username: Username = omitted()
    email: Email = omitted()
    profile_image_url: HttpUrlText = omitted()


class PasswordUpdate(StrictInput):
    current_password: Annotated[str, Field(repr=False)]
    new_password: Password


class UserUpdateInternal(UserUpdate):
    updated_at: datetime


class UserTierUpdate(StrictInput):
    tier_id: Id


class UserDelete(BaseModel):
    is_deleted: bool
    deleted_at: datetime


class UserReadWithTier(UserRead):
    """A user with the category that it belongs to."""

    tier_id: int
    tier_name: str
    tier_created_at: datetime
