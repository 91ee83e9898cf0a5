"""The host names that a request may use; one with another `Host` is refused."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


class AllowedHostsMiddleware:
    """Refuses other hosts with 400; `*.example.com` allows every subdomain, `*` everything."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self.app = app
        self._names = frozenset(host.lower() for host in hosts if not host.startswith("*"))
        self._suffixes = tuple(host[1:].lower() for host in hosts if host.startswith("*"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._allows(_without_port(Headers(scope=scope).get("host", "")).lower()):
            await self.app(scope, receive, send)
            return
        await JSONResponse({"detail": "Invalid host header"}, 400)(scope, receive, send)

    def _allows(self, name: str) -> bool:
        return name in self._names or name.endswith(self._suffixes)
