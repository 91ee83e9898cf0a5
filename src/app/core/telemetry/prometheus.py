"""Figures for Prometheus, on a port of their own: one scrape has those of all processes of this machine or container.

Each process writes its own figures into a file, every `WRITE_SECONDS`, with its instance as a label. The process that
got the port serves all files; when it ends, another one takes the port. So a scrape may be routed to any process, no
figure is added up wrongly, and a process that restarts begins new series, as the functions of PromQL expect it.
The last figures of a process that ended are served for another `KEPT_SECONDS`.
"""

import logging
import os
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import MetricReader
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

logger = logging.getLogger(__name__)

WRITE_SECONDS = 2.0
RETRY_SECONDS = 0.5
"""How soon another process takes a port that has become free; until it serves, a process writes as often."""
WARN_AFTER = 4
"""Failures to open the port, while no process of the application serves it."""
KEPT_SECONDS = 60.0
INSTANCE_ATTRIBUTES = ("service.name", "service.instance.id")


def merged(texts: list[str]) -> str:
    """One exposition: the samples of a metric must follow each other."""
    families: dict[str, tuple[str, list[str]]] = {}
    for text in texts:
        for block in text.split("# HELP ")[1:]:
            help_line, type_line, *samples = block.rstrip("\n").split("\n")
            _, found = families.setdefault(help_line.partition(" ")[0], (f"# HELP {help_line}\n{type_line}", []))
            found += samples
    return "".join("\n".join([head, *samples, ""]) for head, samples in families.values())


class _Snapshots:
    """The folder with the files of all processes, which only this user can read and write."""

    def __init__(self, port: int, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._folder = Path(tempfile.gettempdir()) / f"metrics-{os.getuid()}-{port}"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        found = self._folder.lstat()
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            raise PermissionError(f"{self._folder} belongs to another user: delete it")
        self._own = self._folder / f"{os.getpid()}.prom"
        self._served = self._folder / "served"

    def write(self) -> None:
        unfinished = self._own.with_suffix(".new")
        unfinished.write_bytes(generate_latest(self._registry))
        unfinished.replace(self._own)

    def note_serving(self) -> None:
        self._served.touch()

    def are_served(self) -> bool:
        """Whether a process of the application has the port."""
        try:
            return time.time() - self._served.stat().st_mtime < 2 * WRITE_SECONDS
        except OSError:
            return False

    def read(self) -> str:
        self.write()
        return merged([text for path in sorted(self._folder.glob("*.prom")) if (text := self._read_one(path))])

    def _read_one(self, path: Path) -> str:
        try:
            if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                path.unlink()
                return ""
            return path.read_text(encoding="utf-8")
        except OSError:  # another process has deleted it
            return ""


class _Exposition(threading.Thread):
    """Writes this process's figures, and serves those of all if the port is free."""

    def __init__(self, port: int, registry: CollectorRegistry) -> None:
        super().__init__(name="prometheus", daemon=True)
        self._port = port
        self._snapshots = snapshots = _Snapshots(port, registry)
        self._has_ended = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._failures = 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = snapshots.read().encode()
                self.send_response(200 if self.path.partition("?")[0] in ("/", "/metrics") else 404)
                self.send_header("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._handler = Handler

    def run(self) -> None:
        while not self._has_ended.wait(WRITE_SECONDS if self._server else RETRY_SECONDS):
            try:
                self._snapshots.write()
                if self._server:
                    self._snapshots.note_serving()
            except OSError as error:
                logger.warning("the figures for Prometheus cannot be written: %r", error)
            if self._server is None:
                self._try_to_serve()

    def _try_to_serve(self) -> None:
        try:
            self._server = ThreadingHTTPServer(("", self._port), self._handler)
        except OSError as error:  # another process serves, as a rule
            self._failures += 1
            if self._failures == WARN_AFTER and not self._snapshots.are_served():
                logger.warning("PROMETHEUS_PORT: metrics cannot be read on the port %d: %r", self._port, error)
            return
        self._snapshots.note_serving()
        threading.Thread(target=self._server.serve_forever, name="prometheus-http", daemon=True).start()

    def end(self) -> None:
        self._has_ended.set()
        self._snapshots.write()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
        self.join(WRITE_SECONDS)


@contextmanager
def serve_metrics(port: int | None) -> Iterator[list[MetricReader]]:
    """The readers that a meter provider needs for it; none without a port."""
    if port is None:
        yield []
        return
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(
        registry=registry,
        scope_info_enabled=False,
        disable_target_info=True,
        resource_attribute_filter=INSTANCE_ATTRIBUTES.__contains__,
    )
    exposition = _Exposition(port, registry)
    exposition.start()
    try:
        yield [reader]
    finally:
        exposition.end()
