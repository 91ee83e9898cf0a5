"""Finds the client behind the trusted proxies; the headers of other peers are ignored."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = IPv4Address("127.0.0.1")
MAX_REMEMBERED_PEERS = 1024
_FORWARDED = frozenset((b"x-forwarded-for", b"x-forwarded-proto"))
"""Without one of them neither this layer nor the server changes anything."""
SERVER_RECEIVE_KEY = "app.receive"
"""The key in the request's scope for the server's own `receive`, where another one wraps it."""

Address = IPv4Address | IPv6Address
Peer = tuple[str, int]


def parse_address(text: str) -> Address | None:
    """An entry of `X-Forwarded-For`: an address, perhaps with a port (`[::1]:80`); None for anything else.

    An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) is the IPv4 address.
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


def server_connection(scope: Scope, receive: Receive) -> object:
    """The server's own object for the request, if `receive` is a method of it, as in uvicorn."""
    return getattr(scope.get(SERVER_RECEIVE_KEY, receive), "__self__", None)


def _undo_server_rewrite(scope: Scope, receive: Receive) -> None:
    """Puts the peer of the connection back.

    Uvicorn itself applies `X-Forwarded-…` from the peers in `--forwarded-allow-ips` (127.0.0.1 by default): then only
    the connection still has the peer's address. Other servers do not change the scope.
    """
    transport = getattr(server_connection(scope, receive), "transport", None)
    if transport is None:
        return
    peer = transport.get_extra_info("peername")
    scope["client"] = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple | list) and len(peer) > 1 else None
    plain, secure = ("http", "https") if scope["type"] == "http" else ("ws", "wss")
    scope["scheme"] = secure if transport.get_extra_info("sslcontext") else plain


class TrustedProxiesMiddleware:
    """Puts the client's address and scheme in place of the proxy's, if the peer is a trusted proxy.

    Each proxy appends the address of its own peer to `X-Forwarded-For`. So the list is read from the right, and the
    first address that is not a trusted proxy is the client's: the entries left of it are only the client's claim.
    It is the outermost layer, because one that wraps `receive` would hide the connection from it.
    """

    def __init__(self, app: ASGIApp, trusted: Iterable[str]) -> None:
        self.app = app
        self._networks = tuple(ip_network(network, strict=False) for network in trusted)
        self._is_trusted_peer = lru_cache(MAX_REMEMBERED_PEERS)(self._check_peer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not _FORWARDED.isdisjoint(dict(scope["headers"])):
            _undo_server_rewrite(scope, receive)
            # A peer without an address is at the other end of a Unix socket: on this machine.
            client: Peer | None = scope.get("client")
            if self._is_trusted_peer(client[0] if client else ""):
                self._apply(scope, Headers(scope=scope))
        await self.app(scope, receive, send)

    def _check_peer(self, host: str) -> bool:
        peer = parse_address(host) if host else LOOPBACK
        return peer is not None and self._trusts(peer)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _apply(self, scope: Scope, headers: Headers) -> None:
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
