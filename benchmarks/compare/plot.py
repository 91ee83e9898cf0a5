"""The ratios of throughput as a picture: one bar per scenario, the comparison a line at 1."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from benchmarks.compare.report import WANTED
from benchmarks.compare.rounds import Comparison

SCALE = 2
"""Pixels per unit, for sharp text on today's screens."""
WIDTH, ROW, LABELS, TOP, BOTTOM, RIGHT = 760, 34, 170, 46, 40, 70
LABEL = 40
"""Width of a ratio's text, which does not cover the mark."""
WHITE, TEXT, GRID, LINE, BAR, MISSED = "#ffffff", "#24292f", "#d8dee4", "#57606a", "#2da44e", "#bf8700"


class _Canvas:
    """Drawing in units instead of pixels."""

    def __init__(self, height: int) -> None:
        self.image = Image.new("RGB", (WIDTH * SCALE, height * SCALE), WHITE)
        self._draw = ImageDraw.Draw(self.image)
        self._font = ImageFont.load_default(13 * SCALE)

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: str) -> None:
        self._draw.rectangle([value * SCALE for value in (left, top, right, bottom)], fill=colour)

    def text(self, x: float, y: float, text: str, anchor: str = "lm") -> None:
        self._draw.text((x * SCALE, y * SCALE), text, fill=TEXT, font=self._font, anchor=anchor)


def write_plot(file: Path, comparisons: Sequence[Comparison]) -> None:
    """A PNG; a bar is green if it reaches the wanted ratio, which is the short mark on it."""
    bottom = TOP + ROW * len(comparisons)
    canvas = _Canvas(bottom + BOTTOM)
    largest = max(1.5, *(comparison.throughput for comparison in comparisons), *WANTED.values())
    unit = (WIDTH - LABELS - RIGHT) / largest
    canvas.text(12, 22, "Requests per second, ours divided by the hand-written comparison's")
    for half in range(int(largest * 2) + 1):
        x = LABELS + half / 2 * unit
        canvas.rectangle(x, TOP, x, bottom, LINE if half == 2 else GRID)
        canvas.text(x, bottom + 16, f"{half / 2:g}", "mm")
    for number, comparison in enumerate(comparisons):
        middle = TOP + ROW * number + ROW / 2
        ratio, wanted = comparison.throughput, WANTED[comparison.scenario.name]
        canvas.text(12, middle, f"{comparison.scenario.name}  {comparison.scenario.title}")
        canvas.rectangle(LABELS, middle - 10, LABELS + ratio * unit, middle + 10, BAR if ratio >= wanted else MISSED)
        canvas.rectangle(LABELS + wanted * unit - 1, middle - 13, LABELS + wanted * unit, middle + 13, TEXT)
        end = wanted if 0 <= wanted - ratio < LABEL / unit else ratio
        canvas.text(LABELS + end * unit + 6, middle, f"{ratio:.2f}")
    canvas.rectangle(LABELS + unit, TOP, LABELS + unit, bottom, LINE)
    canvas.image.save(file, optimize=True)
