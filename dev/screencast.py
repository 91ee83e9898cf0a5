"""Records the README's animation: a fresh clone of the project, `make run`, and two requests, as they really happened.

python -m dev.screencast      (commit first: it clones what is committed)

The picture is an SVG of the terminal's lines, each shown at the moment it was printed. Pauses longer than
`LONGEST_PAUSE_SECONDS` are shortened to that; the caption states the real duration.
"""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from dev.local.ports import free_port
from dev.services import temporary_folder

PROJECT = Path(__file__).resolve().parents[1]
PICTURE = PROJECT / "docs" / "images" / "first-run.svg"
NAME = "my-product"
READY = "Ctrl-C"
LONGEST_PAUSE_SECONDS = 0.9
LINE_HEIGHT, WIDTH, MARGIN = 19, 860, 18
MAX_COLUMNS = 102
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
_STYLE = (
    "text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#d8dee9;white-space:pre}"
    ".command{fill:#a3d9a5}.caption{fill:#7b8794}"
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the terminal, and when it was printed in seconds."""

    at: float
    text: str
    kind: str = "output"


class Recorder:
    """Collects lines with their times; `base` is the folder that readers see as their home."""

    def __init__(self, base: Path) -> None:
        self.lines: list[Line] = []
        self.ready_after = 0.0
        self._base = str(base)
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def add(self, text: str, kind: str = "output") -> None:
        shown = _CONTROL.sub("", text).replace(self._base, "~").rstrip()
        parts = [shown[start : start + MAX_COLUMNS] for start in range(0, len(shown), MAX_COLUMNS)] or [""]
        self.lines += [Line(self.seconds, part, kind) for part in parts]


def _output(descriptor: int) -> Iterator[str]:
    """The lines that a process prints to its terminal, until it ends."""
    rest = b""
    while True:
        try:
            data = os.read(descriptor, 4096)
        except OSError:
            return
        if not data:
            return
        *whole, rest = (rest + data).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)


def _ask(recorder: Recorder, folder: Path, command: str) -> None:
    recorder.add(f"$ {command}", "command")
    result = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=True)  # noqa: S602 - fixed text
    recorder.add(result.stdout)


def record(folder: Path) -> Recorder:
    """Clones the project below the folder, starts it, logs in by its own welcome screen, and stops it."""
    subprocess.run(["git", "clone", "-q", str(PROJECT), NAME], cwd=folder, check=True)
    project, port = folder / NAME, free_port()
    recorder = Recorder(folder)
    recorder.add(f"$ git clone <this repository> {NAME} && cd {NAME}", "command")
    recorder.add("$ make run", "command")
    terminal, side = pty.openpty()
    command = ["make", "--no-print-directory", "run", f"PORT={port}"]
    process = subprocess.Popen(command, cwd=project, stdin=side, stdout=side, stderr=side, start_new_session=True)
    os.close(side)
    try:
        for line in _output(terminal):
            recorder.add(line.replace(str(port), "8000"))
            if READY in line:
                recorder.ready_after = recorder.seconds
                break
        url = f"http://127.0.0.1:{port}/api/v1"
        _ask_as_shown(recorder, project, port, [f"curl -s {url}/ready", f"curl -s '{url}/users?items_per_page=1'"])
    finally:
        os.killpg(process.pid, signal.SIGINT)
        for _ in _output(terminal):
            pass
        process.wait()
    return recorder


def _ask_as_shown(recorder: Recorder, project: Path, port: int, commands: Sequence[str]) -> None:
    shown = Recorder(project)
    for command in commands:
        recorder.add("")
        _ask(shown, project, command)
        for line in shown.lines:
            recorder.add(line.text.replace(str(port), "8000"), line.kind)
        shown.lines.clear()


def draw(recorder: Recorder) -> str:
    """The SVG; every line becomes visible at its time."""
    texts, now, before = [], 0.0, 0.0
    for row, line in enumerate(recorder.lines, start=2):
        now += min(line.at - before, LONGEST_PAUSE_SECONDS)
        before = line.at
        texts.append(
            f'<text x="{MARGIN}" y="{row * LINE_HEIGHT}" class="{line.kind}" visibility="hidden">{escape(line.text)}'
            f'<set attributeName="visibility" to="visible" begin="{now + 0.5:.2f}s"/></text>'
        )
    caption = f"A fresh clone, ready {recorder.ready_after:.0f} s after the first command; pauses are shortened."
    height = (len(recorder.lines) + 4) * LINE_HEIGHT
    texts.append(f'<text x="{MARGIN}" y="{height - LINE_HEIGHT}" class="caption">{escape(caption)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">'
        f'<style>{_STYLE}</style><rect width="100%" height="100%" rx="8" fill="#1f2430"/>{"".join(texts)}</svg>\n'
    )


def main() -> int:
    """Returns the exit status."""
    with temporary_folder() as folder:
        recorder = record(folder)
    PICTURE.write_text(draw(recorder), encoding="utf-8")
    print(f"{PICTURE.relative_to(PROJECT)}: {len(recorder.lines)} lines, ready after {recorder.ready_after:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
