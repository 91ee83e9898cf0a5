"""Draws docs/images/observability.png from a run of the application: `python -m benchmarks.observe [SECONDS]`.

The API and a worker serve `PROMETHEUS_PORT`, which is read twice a second while clients read, write and submit tasks.
In the middle third twice as many clients do so. Nothing in the picture is invented or smoothed.
"""

import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from PIL import Image, ImageDraw, ImageFont

from benchmarks.compare.cores import split_cores
from benchmarks.compare.stage import POSTS, ROOT, USERNAME, log_in, open_servers, run_ours
from dev.local.ports import free_port
from dev.local.processes import wait_until
from tests.support.processes import python

SECONDS, PAUSE_SECONDS = 60.0, 0.5
PICTURE = ROOT / "docs/images/observability.png"
SCALE, WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 2, 760, 150, 60, 34, 24
TEXT, GRID, COLOURS = "#24292f", "#d8dee4", ("#2da44e", "#0969da", "#bf8700", "#cf222e")
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? ([0-9.eE+-]+)$", re.MULTILINE)

Samples = list[tuple[str, str, float]]


@dataclass(slots=True)
class Chart:
    """A title, and lines by name; each value is made from two successive scrapes and the seconds between them."""

    title: str
    lines: dict[str, Callable[[Samples, Samples, float], float]]
    values: dict[str, list[float]] = field(default_factory=dict)


def scrape(port: int) -> Samples:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").raise_for_status().text
    return [(name, labels, float(value)) for name, labels, value in _SAMPLE.findall(text)]


def serves(port: int) -> bool:
    try:
        return bool(scrape(port))
    except httpx.HTTPError:
        return False


def total(samples: Samples, name: str, label: str = "") -> float:
    return sum(value for each, labels, value in samples if each == name and label in labels)


def rate(name: str, label: str = "") -> Callable[[Samples, Samples, float], float]:
    return lambda before, after, seconds: (total(after, name, label) - total(before, name, label)) / seconds


def mean(name: str, label: str = "") -> Callable[[Samples, Samples, float], float]:
    """Of a histogram in seconds, in milliseconds."""

    def value(before: Samples, after: Samples, _: float) -> float:
        count = total(after, f"{name}_count", label) - total(before, f"{name}_count", label)
        seconds = total(after, f"{name}_sum", label) - total(before, f"{name}_sum", label)
        return seconds / count * 1e3 if count else 0.0

    return value


def largest(name: str, label: str = "") -> Callable[[Samples, Samples, float], float]:
    return lambda _, after, __: max((v for each, labels, v in after if each == name and label in labels), default=0.0)


def charts() -> list[Chart]:
    requests, cache = "http_server_request_duration_seconds", "app_cache_requests_total"
    return [
        Chart("requests per second", {"2xx": rate(f"{requests}_count", 'status_code="2'), "4xx, 5xx": _failures}),
        Chart(
            "mean duration, ms",
            {"requests": mean(requests), "SQL": mean("db_client_operation_duration_seconds", "pos")},
        ),
        Chart("cache, requests per second", {each: rate(cache, f'"{each}"') for each in ("hit", "miss", "bypass")}),
        Chart(
            "tasks in the queue", {each: largest("app_queue_tasks", f'"{each}"') for each in ("queued", "in_progress")}
        ),
    ]


def _failures(before: Samples, after: Samples, seconds: float) -> float:
    name = "http_server_request_duration_seconds_count"
    return sum(rate(name, f'status_code="{digit}')(before, after, seconds) for digit in "45")


def work(base: str, headers: dict[str, str], ends: Callable[[], bool]) -> None:
    """One client: mostly reads, some writes and tasks, and a few requests that are refused."""
    with httpx.Client(base_url=base, headers=headers, timeout=30) as client:
        for number in range(10_000_000):
            if ends():
                return
            post = 1 + number % POSTS
            client.get(f"/{USERNAME}/post/{post}")
            client.get("/users", params={"page": 1 + number % 2})
            if number % 5 == 0:
                client.patch(f"/{USERNAME}/post/{post}", json={"title": f"Title {number}"})
                client.get("/user/nobody")
            if number % 200 == 0:
                client.post("/tasks/task", params={"message": "hello"})
            time.sleep(0.01)


def draw(drawn: Sequence[Chart], seconds: float) -> None:
    image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * len(drawn) * SCALE), "white")
    canvas, font = ImageDraw.Draw(image), ImageFont.load_default(12 * SCALE)

    def text(x: float, y: float, words: str, colour: str = TEXT, anchor: str = "lm") -> None:
        canvas.text((x * SCALE, y * SCALE), words, fill=colour, font=font, anchor=anchor)

    for number, chart in enumerate(drawn):
        top, bottom = HEIGHT * number + TOP, HEIGHT * (number + 1) - BOTTOM
        most = max(1e-9, *(value for values in chart.values.values() for value in values))
        text(12, top - 18, chart.title)
        for part in (0, 0.5, 1):
            y = (bottom - part * (bottom - top)) * SCALE
            canvas.line((LEFT * SCALE, y, (WIDTH - 12) * SCALE, y), fill=GRID, width=SCALE)
            text(LEFT - 6, y / SCALE, f"{most * part:.3g}", anchor="rm")
        text(LEFT, bottom + 12, "0 s")
        text(WIDTH - 12, bottom + 12, f"{seconds:.0f} s", anchor="rm")
        for index, (name, values) in enumerate(chart.values.items()):
            step = (WIDTH - 12 - LEFT) / max(1, len(values) - 1)
            points = [(LEFT + i * step, bottom - value / most * (bottom - top)) for i, value in enumerate(values)]
            canvas.line([(x * SCALE, y * SCALE) for x, y in points], fill=COLOURS[index], width=SCALE + 1)
            text(WIDTH - 12 - 110 * (len(chart.values) - 1 - index), top - 18, name, COLOURS[index], "rm")
    image.save(PICTURE, optimize=True)


def measure(port: int, drawn: Sequence[Chart], seconds: float) -> None:
    began, before, before_at = time.monotonic(), scrape(port), time.monotonic()
    while time.monotonic() - began < seconds:
        time.sleep(PAUSE_SECONDS)
        after, now = scrape(port), time.monotonic()
        for chart in drawn:
            for name, value in chart.lines.items():
                chart.values.setdefault(name, []).append(value(before, after, now - before_at))
        before, before_at = after, now


def main(seconds: float) -> None:
    drawn, port = charts(), free_port()
    with open_servers(split_cores()) as servers, ExitStack() as stack:
        variables = {"PROMETHEUS_PORT": str(port), "DEFAULT_RATE_LIMIT_LIMIT": "1000000"}
        ours = stack.enter_context(run_ours(servers, **variables))
        worker = ("arq", "app.core.worker.settings.WorkerSettings")
        environment = {**servers.variables, **variables, "PYTHONPATH": "src"}
        stack.enter_context(python(*worker, log=Path(servers.log).with_name("worker.log"), environment=environment))
        wait_until(lambda: serves(port), 20)
        headers = {"Authorization": f"Bearer {log_in(ours)}"}
        base, began = f"http://127.0.0.1:{ours.port}/api/v1", time.monotonic()
        deadlines = [seconds] * 4 + [seconds * 2 / 3] * 4
        clients = [
            threading.Timer(
                0 if end == seconds else seconds / 3,
                work,
                (base, headers, lambda end=end: time.monotonic() - began > end),
            )
            for end in deadlines
        ]
        for client in clients:
            client.start()
        measure(port, drawn, seconds)
        for client in clients:
            client.join()
    draw(drawn, seconds)
    print(f"{PICTURE.relative_to(ROOT)} shows {seconds:g} s")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)
