"""What may be shown of a statement: its text without values, and a summary of few words."""

import re
from functools import lru_cache
from typing import NamedTuple

MAX_CHARACTERS = 2_000
_LITERAL = re.compile(r"\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'|(?<![\w$.\"])\d+(?:\.\d+)?\b", re.DOTALL)
_CHANGE = re.compile(r"\b(INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN)\s+(?:ONLY\s+)?\"?(\w+)", re.IGNORECASE)
_WORD = re.compile(r"\s*(\w+)")


class Shown(NamedTuple):
    operation: str
    summary: str
    text: str


@lru_cache(2_000)
def shown(sql: str) -> Shown:
    """Placeholders stay; numbers and texts, which a statement may contain instead of them, become `?`."""
    word = _WORD.match(sql)
    operation = word[1].upper() if word else "?"
    if operation == "WITH":
        change = _CHANGE.search(sql)
        operation = change[1].upper() if change else "SELECT"
    table = _TABLE.search(sql)
    return Shown(operation, f"{operation} {table[1]}" if table else operation, _LITERAL.sub("?", sql)[:MAX_CHARACTERS])
