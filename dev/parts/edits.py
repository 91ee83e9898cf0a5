"""Edits of one shared file: each names what to take out, and says so if that is not there."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dev.parts import definitions

_HEADING = re.compile(r"(?m)^(#{1,6}) (.+)\n")
_FENCED = re.compile(r"(?ms)^```.*?^```$")


@dataclass(frozen=True, slots=True)
class FileEdits:
    """In the order in which they are made.

    sections: headings of a Markdown file, each with everything below it and its line in the table of contents
    names: definitions of a Python file (`Rows.post` is a method)
    decorators: names of decorators that are taken off everything
    lines: regular expressions; every line that matches one goes
    patterns: regular expressions; what matches goes, at least once
    rewrites: regular expressions that match at least once, and what replaces each match
    cuts: texts that go; each is there exactly once
    swaps: texts, each there exactly once, and what replaces them
    """

    sections: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    decorators: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    rewrites: tuple[tuple[str, str], ...] = ()
    cuts: tuple[str, ...] = ()
    swaps: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "FileEdits":
        return cls(**{name: tuple(map(_frozen, value)) for name, value in values.items()})

    def apply(self, text: str) -> tuple[str, list[str]]:
        """The changed text, and which edits found nothing to change or more than one place."""
        problems: list[str] = []
        for kind, each in self._steps():
            changed = kind(text, *each)
            if changed is None:
                problems.append(each[0].strip().partition("\n")[0][:90])
            else:
                text = changed
        return text, problems

    def _steps(self) -> Iterator[tuple[Any, tuple[str, ...]]]:
        yield from ((_without_section, (title,)) for title in self.sections)
        yield from ((definitions.without, (name,)) for name in self.names)
        yield from ((definitions.without_decorator, (name,)) for name in self.decorators)
        yield from ((_without_lines, (expression,)) for expression in self.lines)
        yield from ((_rewritten, (expression, "")) for expression in self.patterns)
        yield from ((_rewritten, each) for each in self.rewrites)
        yield from ((_swapped, (text, "")) for text in self.cuts)
        yield from ((_swapped, (old, new)) for old, new in self.swaps)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _swapped(text: str, old: str, new: str) -> str | None:
    return text.replace(old, new) if text.count(old) == 1 else None


def _rewritten(text: str, expression: str, new: str) -> str | None:
    changed = re.sub(expression, new, text)
    return changed if changed != text else None


def _without_lines(text: str, expression: str) -> str | None:
    pattern = re.compile(expression)
    kept = [line for line in text.splitlines(keepends=True) if not pattern.search(line)]
    changed = "".join(kept)
    return changed if changed != text else None


def _without_section(text: str, title: str) -> str | None:
    # A comment in a code block looks like a heading.
    outside = _FENCED.sub(lambda block: block[0].replace("\n#", "\n\x00"), text)
    headings = list(_HEADING.finditer(outside))
    for number, heading in enumerate(headings):
        if heading[2] == title:
            level = len(heading[1])
            following = (each.start() for each in headings[number + 1 :] if len(each[1]) <= level)
            removed = text[heading.start() : next(following, len(text))]
            titles = [
                title,
                *(each[2] for each in headings if heading.start() < each.start() < heading.start() + len(removed)),
            ]
            return _without_contents(text.replace(removed, ""), titles)
    return None


def _without_contents(text: str, titles: list[str]) -> str:
    entries = "|".join(re.escape(title) for title in titles)
    return re.sub(rf"(?m)^ *- \[(?:{entries})\]\(#.*\)\n", "", text)
