"""What is to be written: the names, the fields, and what they mean together."""

from dataclasses import dataclass

from dev.entity.fields import Field, Fields
from dev.entity.names import Names

OWNER_COLUMN = "created_by_user_id"
LARGE = 2000
"""Lists bound the total length of the texts that may be longer."""


@dataclass(frozen=True, slots=True)
class Target:
    """An entity that a field refers to: its table, and the name of its `Owner` in `app.api.owners`, if it has one."""

    table: str
    owner: str = ""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """`detail` is that of the error if there is no such row."""

    column: str
    table: str
    on_delete: str
    detail: str


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity that can be written: everything that its fields refer to exists."""

    names: Names
    fields: Fields
    targets: dict[str, Target]

    @property
    def stored(self) -> list[Field]:
        """In the order of the columns: attributes with a default come last in a dataclass."""
        return sorted(self.fields.fields, key=lambda field: field.optional)

    @property
    def foreign_keys(self) -> list[ForeignKey]:
        owner = ForeignKey(OWNER_COLUMN, "user", "CASCADE", "User not found")
        others = [
            ForeignKey(
                field.column,
                self.targets[field.target].table,
                "SET NULL" if field.optional else "CASCADE",
                self.detail(field),
            )
            for field in self.fields.references
        ]
        return [owner, *others] if self.fields.owned else others

    @property
    def large_columns(self) -> list[str]:
        fields = self.fields.fields
        return [field.column for field in fields if field.kind in {"str", "text"} and (field.high or 0) > LARGE]

    def detail(self, field: Field) -> str:
        """Of the error that a violation of the field's constraint gives."""
        if field.target:
            return f"{field.words.title()} not found"
        return f"{self.names.title} {field.words} not available"
