"""Notes what the main thread is doing each time the process has used another millisecond of CPU time."""

import signal
import sysconfig
from collections import Counter
from pathlib import Path
from types import FrameType

INTERVAL_SECONDS = 0.001
"""Systems round it up to the tick of their clock, often 4 ms."""
_FOLDERS = sorted((sysconfig.get_path(name) for name in ("purelib", "stdlib")), key=len, reverse=True)
_ROOT = Path(__file__).resolve().parents[2]


def _name(frame: FrameType) -> str:
    """`function (module/file.py)`"""
    code = frame.f_code
    file = code.co_filename
    for folder in (*_FOLDERS, str(_ROOT / "src"), str(_ROOT)):
        file = file.removeprefix(f"{folder}/")
    return f"{code.co_qualname} ({file})"


class Sampler:
    """The first signal starts it, the second writes the samples to the file: one stack per line, with its count."""

    def __init__(self, file: Path, toggle: signal.Signals) -> None:
        self._stacks: Counter[tuple[str, ...]] = Counter()
        self._file = file
        self._is_running = False
        signal.signal(toggle, self._toggle)

    def _toggle(self, _number: int, _frame: FrameType | None) -> None:
        self._is_running = not self._is_running
        if self._is_running:
            signal.signal(signal.SIGPROF, self._note)
            signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)
            return
        signal.setitimer(signal.ITIMER_PROF, 0)
        lines = (f"{';'.join(stack)} {count}\n" for stack, count in self._stacks.items())
        unfinished = self._file.with_suffix(".new")
        unfinished.write_text("".join(lines), encoding="utf-8")
        unfinished.rename(self._file)

    def _note(self, _number: int, frame: FrameType | None) -> None:
        stack = []
        while frame:
            stack.append(_name(frame))
            frame = frame.f_back
        self._stacks[tuple(reversed(stack))] += 1
