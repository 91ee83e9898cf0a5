"""What may be shown of a statement: its text without values, and a summary of few words."""

import re
from functools import lru_cache
from typing import NamedTuple

MAX_CHARACTERS = 2_000
_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\*(?:.*\*/|.*) )
    | [eE]'(?:[^'\\]|\\.|'')*(?:'|\Z) | '(?:[^']|'')*(?:'|\Z) | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)
    | (?P<kept> "(?:[^"]|"")*" | \$\d+ | [^\W\d][\w$]* )
    | \.?\d[\w.]*
    """,
    re.DOTALL | re.VERBOSE,
)
"""Comments, from the first to the last one because they nest; texts; names and placeholders; numbers.

A comment or text without an end reaches to the end of the statement.
"""
_CHANGE = re.compile(r"\b(INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN)\s+(?:ONLY\s+)?\"?(\w+)", re.IGNORECASE)
_WORD = re.compile(r"\s*(\w+)")


class Shown(NamedTuple):
    operation: str
    summary: str
    text: str


def _without_value(token: re.Match[str]) -> str:
    if token["comment"]:
        return " "
    return token["kept"] or "?"


@lru_cache(2_000)
def shown(sql: str) -> Shown:
    """Placeholders stay; numbers and texts, which a statement may contain instead of them, become `?`."""
    text = _TOKEN.sub(_without_value, sql)
    word = _WORD.match(text)
    operation = word[1].upper() if word else "?"
    if operation == "WITH":
        change = _CHANGE.search(text)
        operation = change[1].upper() if change else "SELECT"
    table = _TABLE.search(text)
    return Shown(operation, f"{operation} {table[1]}" if table else operation, text[:MAX_CHARACTERS])
