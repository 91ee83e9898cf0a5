"""The values of a new row are those that an instance of the model would store, mostly without one."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import MetaData, String, event, func, text
from sqlalchemy.orm import Mapped, mapped_column, validates

from app.core.db.database import Base
from app.core.db.models import PersistentDeletion, TimestampMixin, UUIDMixin
from app.crud.new_rows import new_values
from app.models.post import Post
from app.models.user import User


class OwnBase(Base):
    """Its tables are not the application's."""

    __abstract__ = True
    metadata = MetaData()


class Plain(UUIDMixin, TimestampMixin, PersistentDeletion, OwnBase):
    __tablename__ = "new_plain"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str]
    size: Mapped[int] = mapped_column(default=3)
    tags: Mapped[str] = mapped_column(default_factory=lambda: "none")
    called: Mapped[str] = mapped_column(insert_default=lambda: "called", init=False)
    fixed: Mapped[int] = mapped_column(insert_default=7, init=False)
    by_server: Mapped[int] = mapped_column(server_default=text("8"), init=False)
    by_expression: Mapped[str] = mapped_column(insert_default=func.lower("A"), init=False)
    note: Mapped[str | None] = mapped_column("note_column", String(10), default=None)


class Validated(OwnBase):
    __tablename__ = "new_validated"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str]
    length: Mapped[int] = mapped_column(init=False)

    def __post_init__(self) -> None:
        self.length = len(self.name)

    @validates("name")
    def lower(self, key: str, value: str) -> str:
        return value.lower()


@pytest.fixture
def instances() -> Any:
    """The models of which an instance was made."""
    made: list[type] = []

    def note(target: Any, *_: Any) -> None:
        made.append(type(target))

    for model in (Plain, Validated, Post, User):
        event.listen(model, "init", note)
    yield made
    for model in (Plain, Validated, Post, User):
        event.remove(model, "init", note)


def test_defaults_of_python_apply_and_those_of_the_database_are_left_to_it(instances: list[type]) -> None:
    values = new_values(Plain, {"name": "a", "size": 4})
    assert isinstance(values.pop("uuid"), UUID)
    assert values == {
        "name": "a",
        "size": 4,
        "tags": "none",
        "called": "called",
        "fixed": 7,
        "note": None,
        "updated_at": None,
        "deleted_at": None,
        "is_deleted": False,
    }
    assert new_values(Plain, {"name": "a", "size": None, "tags": "b"})["size"] == 3
    assert new_values(Plain, {"name": "a"})["uuid"] != new_values(Plain, {"name": "a"})["uuid"]
    assert not instances


def test_the_models_own_code_runs(instances: list[type]) -> None:
    assert new_values(Validated, {"name": "ABC"}) == {"name": "abc", "length": 3}
    assert instances == [Validated]


@pytest.mark.parametrize("given", [{}, {"name": "a", "unknown": 1}, {"name": "a", "uuid": uuid4()}])
def test_names_that_the_model_does_not_take_are_refused_by_it(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="__init__"):
        new_values(Plain, given)


def test_posts_and_users_need_no_instance(instances: list[type]) -> None:
    post = {"created_by_user_id": 1, "title": "A title", "text": "A text", "media_url": None}
    user = {"name": "A", "username": "a", "email": "a@example.com", "hashed_password": "x"}
    assert new_values(Post, post).items() >= {**post, "is_deleted": False}.items()
    assert new_values(User, user)["profile_image_url"] == "https://profileimageurl.com"
    assert not instances
