"""What an entity is called in tables, paths, classes and sentences."""

import keyword
import re
from dataclasses import dataclass

from dev.entity.errors import EntityError

MAX_LENGTH = 30
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_ENDINGS = (
    (re.compile(r"(?<=[^aeiou])y$"), "ies"),
    (re.compile(r"(?:s|x|z|ch|sh)$"), r"\g<0>es"),
    (re.compile("$"), "s"),
)
_WITH_A = re.compile(r"(?:uni|use|usa|usu|ute|uti|eu|one)")
_WITH_AN = re.compile(r"(?:[aeiou]|hour|honor|heir)")


def check_name(name: str, what: str, example: str) -> str:
    """Returns a name that Python and PostgreSQL accept, or raises `EntityError`."""
    if not _NAME.fullmatch(name) or len(name) > MAX_LENGTH:
        raise EntityError(
            f"{what} {name!r}: write it in lower case with underscores, at most {MAX_LENGTH} characters: {example}"
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise EntityError(f"{what} {name!r}: this is a word of Python; choose another, such as {example}")
    return name


def pluralize(name: str) -> str:
    """The regular plural; `PLURAL=people` gives another."""
    return next(pattern.sub(ending, name, count=1) for pattern, ending in _ENDINGS if pattern.search(name))


def with_article(words: str) -> str:
    an = _WITH_AN.match(words) and not _WITH_A.match(words)
    return f"an {words}" if an else f"a {words}"


@dataclass(frozen=True, slots=True)
class Names:
    """`order_item`, `order_items`, and what is made of them."""

    entity: str
    entities: str

    @classmethod
    def of(cls, name: str, plural: str = "") -> "Names":
        check_name(name, "NAME", "NAME=product")
        plural = check_name(plural or pluralize(name), "PLURAL", "PLURAL=people")
        if plural == name:
            raise EntityError(f"PLURAL {plural!r}: one and many need different names: PLURAL={name}_list")
        return cls(name, plural)

    @property
    def words(self) -> str:
        return self.entity.replace("_", " ")

    @property
    def title(self) -> str:
        """As in `Order Item not found`."""
        return self.words.title()

    @property
    def model(self) -> str:
        return self.title.replace(" ", "")

    def values(self) -> dict[str, str]:
        """The placeholders of the templates."""
        plural = self.entities.replace("_", " ")
        return {
            "entity": self.entity,
            "entities": self.entities,
            "Entity": self.model,
            "ENTITY": self.entity.upper(),
            "title": self.title,
            "words": self.words,
            "a_word": with_article(self.words),
            "A_word": with_article(self.words).capitalize(),
            "plural": plural,
            "Plural": plural.capitalize(),
        }
