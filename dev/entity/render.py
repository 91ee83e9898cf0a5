"""Fills the templates: `$entity` is replaced by a text; a line that is only `$columns` by any number of lines."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from dev.entity.python import lay_out

TEMPLATES = Path(__file__).with_name("templates")
Values = Mapping[str, str | Sequence[str]]
_BLOCK = re.compile(r"^(?P<indent> *)\$(?P<name>\w+)$")


def render(template: str, values: Values) -> str:
    """The code that the template gives, formatted."""
    text = (TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
    return lay_out(fill(text, values))


def fill(text: str, values: Values) -> str:
    lines = [each for line in text.splitlines() for each in _filled(line, values)]
    return "\n".join(lines) + "\n"


def _filled(line: str, values: Values) -> list[str]:
    block = _BLOCK.match(line)
    if block and not isinstance(content := values[block["name"]], str):
        return [f"{block['indent']}{each}" if each else "" for each in content]
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    return [Template(line).substitute(texts)]
