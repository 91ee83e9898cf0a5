"""Stacks as a flame graph (Brendan Gregg): the width of a function is its share of the CPU time, callers are below."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

WIDTH, ROW, TOP = 1600, 18, 40
NARROWEST = 0.3
CHARACTER = 6.6
COLOURS = {
    "app/": "#7fc97f",
    "fastapi/": "#80b1d3",
    "starlette/": "#80b1d3",
    "pydantic": "#bebada",
    "sqlalchemy/": "#fdb462",
    "asyncpg/": "#fdb462",
    "redis/": "#fb8072",
    "arq/": "#fb8072",
    "uvicorn/": "#ffffb3",
}
OTHER = "#d9d9d9"

Stacks = Mapping[tuple[str, ...], int]


@dataclass(slots=True)
class _Node:
    count: int = 0
    children: dict[str, "_Node"] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        return 1 + max((child.depth for child in self.children.values()), default=0)


def read_stacks(text: str) -> Stacks:
    """From lines of `outermost;...;innermost count`."""
    pairs = (line.rpartition(" ") for line in text.splitlines())
    return {tuple(stack.split(";")): int(count) for stack, _, count in pairs}


def _tree(stacks: Stacks) -> _Node:
    root = _Node()
    for stack, count in stacks.items():
        node = root
        node.count += count
        for name in stack:
            node = node.children.setdefault(name, _Node())
            node.count += count
    while len(root.children) == 1:  # what everything has in common says nothing
        (root,) = root.children.values()
    return root


def _colour(name: str) -> str:
    file = name.rpartition("(")[2]
    return next((colour for start, colour in COLOURS.items() if file.startswith(start)), OTHER)


def _boxes(node: _Node, left: float, bottom: float, unit: float, total: int) -> Iterator[str]:
    for name, child in sorted(node.children.items()):
        width = child.count * unit
        if width >= NARROWEST:
            title = f"{name}: {child.count / total:.1%}"
            yield f'<g><title>{escape(title)}</title><rect x="{left:.1f}" y="{bottom}" width="{width:.1f}"'
            yield f' height="{ROW - 1}" rx="2" fill="{_colour(name)}"/>'
            if letters := int((width - 6) / CHARACTER):
                yield f'<text x="{left + 3:.1f}" y="{bottom + 13}">{escape(name[:letters])}</text>'
            yield "</g>\n"
            yield from _boxes(child, left, bottom - ROW, unit, total)
        left += width


def draw(stacks: Stacks, title: str) -> str:
    """An SVG for a browser, which shows a function's name and share under the mouse."""
    root = _tree(stacks)
    height = TOP + ROW * root.depth
    boxes = "".join(_boxes(root, 0, height - 2 * ROW, WIDTH / max(1, root.count), root.count))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace"'
        f' font-size="11">\n<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<text x="8" y="24" font-size="15">{escape(title)}</text>\n{boxes}</svg>\n'
    )


def busiest(stacks: Stacks, number: int) -> list[tuple[str, float]]:
    """The functions with the largest shares of their own, without what they call."""
    own: Counter[str] = Counter()
    for stack, count in stacks.items():
        own[stack[-1]] += count
    total = max(1, own.total())
    return [(name, count / total) for name, count in own.most_common(number)]
