"""Random names and fields, for trying the generator; the same for the same seed."""

import random
from dataclasses import dataclass

WORDS = """
box city hour user_group order class_list leaf invoice unit address message column value status_report x9
delivery_window team book key shelf day_trip box_of_parts lesson visit
"""
FIELD_WORDS = """
name title code size note limit group order from_day a price_in_cents description_of_all_the_rest
"""
TYPES = """
str str(2..80) str(40..80) str(1..3) str(..5000) text text(..100) int int(0..) int(..-5) int(-3..3) int(7..9)
decimal decimal(0..) decimal(0.5..0.9) decimal(..-1) bool date datetime uuid url email
enum(a,b) enum(new,used,so-so)
"""
UNIQUE_TYPES = """
str str(2..80) str(40..80) str(..3) int int(5..) int(..-5) int(-30..5) decimal date datetime uuid email
"""
MAX_FIELDS = 8


@dataclass(frozen=True, slots=True)
class RandomEntity:
    """The arguments of one `make entity`."""

    name: str
    fields: str


def random_entities(seed: int, count: int, known: list[str]) -> list[RandomEntity]:
    """Entities that refer to known ones and to one another."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    found: list[RandomEntity] = []
    words = WORDS.split()
    for name in chance.sample(words, min(count, len(words))):
        targets = [*known, *(each.name for each in found)]
        found.append(RandomEntity(name, _fields(chance, targets)))
    return found


def _fields(chance: random.Random, known: list[str]) -> str:
    names = chance.sample(FIELD_WORDS.split(), chance.randint(1, MAX_FIELDS))
    fields = [_field(chance, name) for name in names]
    targets = chance.sample(known, chance.randint(0, min(2, len(known))))
    fields += [f"{chance.choice(('', 'main_'))}{target}:{target}{chance.choice(('', '?'))}" for target in targets]
    if chance.random() < 0.5:
        fields.append("owner:user")
    chance.shuffle(fields)
    return " ".join(fields)


def _field(chance: random.Random, name: str) -> str:
    mark = chance.choice(("", "", "?"))
    if chance.random() < 0.25:
        return f"{name}:{chance.choice(UNIQUE_TYPES.split())}!{mark}"
    return f"{name}:{chance.choice(TYPES.split())}{mark}"
