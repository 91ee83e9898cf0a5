"""Finds the client behind the proxies that are known, and believes nobody else's headers."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = IPv4Address("127.0.0.1")

Address = IPv4Address | IPv6Address
Peer = tuple[str, int]


def parse_address(text: str) -> Address | None:
    """An entry of `X-Forwarded-For`: an address, perhaps with a port (`[::1]:80`); None for anything else.

    An IPv4 address in IPv6 clothes (`::ffff:192.0.2.1`) is the IPv4 address.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _undo_server_rewrite(scope: Scope, receive: Receive) -> None:
    """Puts the peer of the connection back.

    Uvicorn believes `X-Forwarded-…` itself, from whom `--forwarded-allow-ips` says (127.0.0.1 by default), and then the
    scope no longer tells who connected. Its connection does. Other servers leave the scope alone.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        return
    peer = transport.get_extra_info("peername")
    scope["client"] = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple | list) and len(peer) > 1 else None
    plain, secure = ("http", "https") if scope["type"] == "http" else ("ws", "wss")
    scope["scheme"] = secure if transport.get_extra_info("sslcontext") else plain


class TrustedProxiesMiddleware:
    """Puts the client's address and scheme in place of the proxy's, if the peer is a trusted proxy.

    Each proxy appends the address of its own peer to `X-Forwarded-For`. So the list is read from the right, and the
    first address that is no trusted proxy is the client: what stands left of it is the client's own claim.
    It is the outermost layer, because one that wraps `receive` would hide the connection from it.
    """

    def __init__(self, app: ASGIApp, trusted: Iterable[str]) -> None:
        self.app = app
        self._networks = tuple(ip_network(network, strict=False) for network in trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            _undo_server_rewrite(scope, receive)
            # A peer without an address is at the other end of a Unix socket: on this machine.
            client: Peer | None = scope.get("client")
            peer = parse_address(client[0]) if client and client[0] else LOOPBACK
            if peer is not None and self._trusts(peer):
                self._believe(scope, Headers(scope=scope))
        await self.app(scope, receive, send)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _believe(self, scope: Scope, headers: Headers) -> None:
        if client := self._client(",".join(headers.getlist("x-forwarded-for"))):
            scope["client"] = (str(client), 0)
        scheme = ",".join(headers.getlist("x-forwarded-proto")).rpartition(",")[2].strip().lower()
        if scheme in ("http", "https"):
            scope["scheme"] = scheme if scope["type"] == "http" else scheme.replace("http", "ws")

    def _client(self, forwarded_for: str) -> Address | None:
        """The right-most address that is not trusted; the last that can be read where there is none."""
        client = None
        for entry in reversed(forwarded_for.split(",")):
            address = parse_address(entry)
            if address is None:
                break
            client = address
            if not self._trusts(address):
                break
        return client
