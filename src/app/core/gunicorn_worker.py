"""gunicorn's worker, which finishes the requests of open connections before it stops."""

import asyncio
import socket
import sys
from typing import Any, ClassVar

from gunicorn.arbiter import Arbiter
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from app.core.http_protocol import CoalescingProtocol

LINGER_SECONDS = 0.3


class LingeringServer(Server):
    """Stops accepting connections, then responds to requests that arrive over open ones for `LINGER_SECONDS`.

    Uvicorn closes idle connections at once, even one over which NGINX is sending a request: a POST that NGINX may not
    send a second time.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await asyncio.sleep(LINGER_SECONDS)
        await super().shutdown(sockets)


class LingeringWorker(UvicornWorker):  # type: ignore[misc] # its package is untyped
    """`uvicorn_worker.UvicornWorker` with that server, and with coalesced writes."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {**UvicornWorker.CONFIG_KWARGS, "http": CoalescingProtocol}

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = LingeringServer(config=self.config)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
