from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.core.schemas import CreatedAt, HttpUrlText, StrictInput, Text, omitted

_TITLE = Field(description="The title, 2 to 30 characters.", examples=["This is my post"])
_TEXT = Field(description="The content, 1 to 63,206 characters.", examples=["This is the content of my post."])
_MEDIA_URL = Field(
    description="The http or https URL of an image or video, or `null`.",
    examples=["https://www.postimageurl.com"],
)

Title = Annotated[Text, Field(min_length=2, max_length=30), _TITLE]
Body = Annotated[Text, Field(min_length=1, max_length=63206), _TEXT]
MediaUrl = Annotated[HttpUrlText | None, _MEDIA_URL]


class PostBase(BaseModel):
    title: Title
    text: Body


class PostCreate(StrictInput, PostBase):
    """A new post."""

    media_url: MediaUrl = None


class PostCreateInternal(PostCreate):
    """A post with its author, for writes that name no parent."""

    created_by_user_id: int


class PostRead(BaseModel):
    """A post."""

    model_config = ConfigDict(from_attributes=True)

    id: Annotated[int, Field(description="The post's number.", examples=[1])]
    title: Annotated[str, _TITLE]
    text: Annotated[str, _TEXT]
    media_url: Annotated[str | None, _MEDIA_URL]
    created_by_user_id: Annotated[int, Field(description="The `id` of the author.", examples=[1])]
    created_at: CreatedAt


class PostUpdate(StrictInput):
    """The fields of a post to change."""

    title: Title = omitted()
    text: Body = omitted()
    media_url: MediaUrl = omitted()
