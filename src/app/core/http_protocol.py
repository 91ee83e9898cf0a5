"""uvicorn's HTTP protocol with coalesced writes: header and body of a response leave in one system call.

uvicorn writes them one after the other, and uvloop writes at once. That is a system call more per response, about a
sixth of the cost of a cached one, and a server that is killed in between has sent a header without its body. Here a
response of at most `MAX_UNSENT_BYTES` is sent whole or, if the server is killed, not at all, unless the client reads so
slowly that the kernel takes only a part of it.

gunicorn's workers use it (`app.core.gunicorn_worker`). For uvicorn it is an option:
`uvicorn src.app.main:app --http src.app.core.http_protocol:CoalescingProtocol`.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_UNSENT_BYTES = 64 * 1024
"""More than that is written at once: only what the transport has counts for uvicorn's flow control."""


class CoalescingTransport:
    """A transport that writes the data of one turn of the event loop together; everything else is passed on."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self._loop = loop
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        if not self._unsent:
            self._loop.call_soon(self.flush)
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        if self._unsent_bytes > MAX_UNSENT_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what has been held back."""
        unsent, self._unsent, self._unsent_bytes = self._unsent, [], 0
        if unsent and not self.transport.is_closing():
            self.transport.writelines(unsent)

    def close(self) -> None:
        self.flush()
        self.transport.close()


class CoalescingProtocol(HttpToolsProtocol):
    """uvicorn's protocol on such a transport; a websocket gets the transport itself."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        coalescing: Any = CoalescingTransport(transport, self.loop)
        super().connection_made(coalescing)

    def handle_websocket_upgrade(self) -> None:
        if isinstance(self.transport, CoalescingTransport):
            self.transport.flush()
            self.transport = self.transport.transport
        super().handle_websocket_upgrade()
