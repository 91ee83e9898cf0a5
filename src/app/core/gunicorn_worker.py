"""gunicorn's worker with a gentle end."""

import asyncio
import socket
import sys

from gunicorn.arbiter import Arbiter
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

LINGER_SECONDS = 0.3


class LingeringServer(Server):
    """Answers, after it has stopped to listen, what is on its way over connections that it has.

    Uvicorn closes them at once, also one whose first request NGINX is just sending: a POST that NGINX may not repeat.
    """

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await asyncio.sleep(LINGER_SECONDS)
        await super().shutdown(sockets)


class LingeringWorker(UvicornWorker):  # type: ignore[misc] # its package is untyped
    """`uvicorn_worker.UvicornWorker` with that server."""

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = LingeringServer(config=self.config)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
