"""Which test file begins first when several processes share a run: the one that takes longest.

The processes take file after file; a long one begun late would leave the others without work at the end. How long each
file takes is in `durations.json` beside this module; `RECORD_DURATIONS=1 make test` writes it anew.
"""

import json
import os
from collections import defaultdict
from pathlib import Path

import pytest

DURATIONS = Path(__file__).with_name("durations.json")
UNKNOWN_SECONDS = 10
"""For a file that is not recorded."""


def longest_first(items: list[pytest.Item]) -> None:
    seconds = json.loads(DURATIONS.read_text(encoding="utf-8"))
    items.sort(key=lambda item: -seconds.get(item.path.name, UNKNOWN_SECONDS))


def record_durations(reporter: pytest.TerminalReporter) -> None:
    """Writes how long the files took, in whole seconds, if `RECORD_DURATIONS` is set and processes share the run."""
    if not os.environ.get("RECORD_DURATIONS") or not reporter.config.getoption("numprocesses", None):
        return
    seconds: defaultdict[str, float] = defaultdict(float)
    for reports in reporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[Path(report.fspath).name] += report.duration
    recorded = {name: round(seconds[name]) for name in sorted(seconds, key=seconds.__getitem__, reverse=True)}
    DURATIONS.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
