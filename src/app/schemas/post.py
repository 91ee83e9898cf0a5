from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.core.schemas import HttpUrlText, StrictInput, Text, omitted

Title = Annotated[Text, Field(min_length=2, max_length=30, examples=["This is my post"])]
Body = Annotated[Text, Field(min_length=1, max_length=63206, examples=["This is the content of my post."])]


class PostBase(BaseModel):
    title: Title
    text: Body


class PostCreate(StrictInput, PostBase):
    media_url: HttpUrlText | None = None


class PostCreateInternal(PostCreate):
    """A post as it is stored."""

    created_by_user_id: int


class PostRead(BaseModel):
    """What anybody may see."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str
    text: str
    media_url: str | None
    created_by_user_id: int
    created_at: datetime


class PostUpdate(StrictInput):
    title: Title = omitted()
    text: Body = omitted()
    media_url: HttpUrlText | None = omitted()
