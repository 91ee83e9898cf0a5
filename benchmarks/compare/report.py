"""The results as a table and as JSON."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.compare.rounds import CONNECTIONS, Comparison, Series

WANTED = {"S1": 1.3, "S2": 1.4, "S3": 2.5, "S4": 1.3, "S5": 0.9, "S6": 1.0, "S7": 0.8, "S8": 0.9}
"""The ratio of throughputs that each scenario is to reach; the p99 may be 1.5 times the comparison's."""

BEGIN, END = "<!-- results -->", "<!-- end of results -->"

_HEADER = (
    "| scenario | ours, requests/s | comparison | ratio (rounds) | ratio, both coalescing "
    "| ours, p99 | comparison | ratio | ours, CPU per request | comparison |"
)
_RULE = "|---" + "|---:" * 9 + "|"


@dataclass(frozen=True, slots=True)
class Conditions:
    """How it was measured."""

    generator: str
    cores: str
    rounds: int
    seconds: float

    def lines(self) -> list[str]:
        rounds = f"medians of {self.rounds} rounds of {self.seconds:g} s, the applications in turns"
        return [
            f"{machine()}; {self.cores}.",
            f"{CONNECTIONS} connections, load by {self.generator}; {rounds}.",
        ]


def machine() -> str:
    """Without anything that identifies it."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def _cpu(series: Series) -> str:
    return f"{series.cpu_microseconds:.0f} us" if series.cpu_microseconds else "-"


def row(comparison: Comparison) -> str:
    ours, bare, ratios = comparison.ours, comparison.bare, comparison.throughputs
    cells = [
        f"{comparison.scenario.name} {comparison.scenario.title}",
        f"{ours.per_second:,.0f}",
        f"{bare.per_second:,.0f}",
        f"**{comparison.throughput:.2f}** ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        f"{comparison.throughput_if_both_coalesce:.2f}",
        f"{ours.p99:.1f} ms",
        f"{bare.p99:.1f} ms",
        f"{comparison.p99:.2f}",
        _cpu(ours),
        _cpu(bare),
    ]
    return f"| {' | '.join(cells)} |"


def table(comparisons: Sequence[Comparison]) -> str:
    return "\n".join([_HEADER, _RULE, *map(row, comparisons)])


def _series(series: Series) -> dict[str, Any]:
    return {
        "requests_per_second": round(series.per_second, 1),
        "p50_ms": round(series.p50, 3),
        "p99_ms": round(series.p99, 3),
        "cpu_microseconds": series.cpu_microseconds and round(series.cpu_microseconds, 1),
        "rounds": [
            {"requests": outcome.requests, "seconds": outcome.seconds, "p50_ms": outcome.p50, "p99_ms": outcome.p99}
            for outcome in series.outcomes
        ],
    }


def write_json(file: Path, comparisons: Sequence[Comparison], conditions: Conditions) -> None:
    scenarios = {
        comparison.scenario.name: {
            "title": comparison.scenario.title,
            "ours": _series(comparison.ours),
            "comparison": _series(comparison.bare),
            "comparison_coalescing": _series(comparison.coalescing),
            "throughput_ratio": round(comparison.throughput, 3),
            "throughput_ratio_if_both_coalesce": round(comparison.throughput_if_both_coalesce, 3),
            "throughput_ratios": [round(ratio, 3) for ratio in comparison.throughputs],
            "p99_ratio": round(comparison.p99, 3),
            "wanted": WANTED[comparison.scenario.name],
        }
        for comparison in comparisons
    }
    content = {"conditions": conditions.lines(), "scenarios": scenarios}
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_into(document: Path, comparisons: Sequence[Comparison], conditions: Conditions) -> None:
    """Replaces what is between the document's two marks."""
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    middle = "\n\n".join([BEGIN, " ".join(conditions.lines()), table(comparisons), END])
    document.write_text(f"{before}{middle}{after}", encoding="utf-8")
