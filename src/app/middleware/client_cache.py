"""What browsers and proxies may keep (RFC 9111), and when the copy they have is still valid (RFC 9110)."""

from collections.abc import Mapping
from hashlib import sha256

from starlette.datastructures import MutableHeaders

from app.middleware.response_start import ResponseStart

_READS = frozenset({"GET", "HEAD"})
_VARY = b"Authorization"
_NOT_MODIFIED = frozenset(
    (b"etag", b"cache-control", b"content-location", b"date", b"expires", b"vary", b"set-cookie", b"x-cache")
)
"""What a 304 repeats of the response, besides the fields for other origins; the rest describes the body."""
_ORIGINS = b"access-control-"


def _matches(condition: bytes, etag: bytes) -> bool:
    tags = [tag.strip().removeprefix(b"W/") for tag in condition.split(b",")]
    return b"*" in tags or etag.removeprefix(b"W/") in tags


class ClientCache:
    """Sets `Cache-Control` where the route does not, `Vary: Authorization` and `ETag`, and turns a response into a 304.

    Only what an anonymous caller reads is public; a response to credentials, or one that sets a cookie, is for the
    caller only, and errors, redirections and changes are not stored.
    """

    def __init__(self, max_age: int) -> None:
        self._public = b"public, max-age=%d" % max_age

    def apply(self, start: ResponseStart, method: str, request: Mapping[bytes, bytes], body: bytes | None) -> None:
        """Completes the response; `body` is None where its end is not known yet."""
        if b"vary" in start.names:
            MutableHeaders(raw=start.fields).add_vary_header(_VARY.decode())
        else:
            start.add(b"vary", _VARY)
        if b"cache-control" not in start.names:
            start.add(b"cache-control", self._policy(start, method, request))
        if start.status == 200 and method in _READS:
            self._validate(start, request.get(b"if-none-match"), body)

    def _policy(self, start: ResponseStart, method: str, request: Mapping[bytes, bytes]) -> bytes:
        is_success = 200 <= start.status < 300 or start.status == 304
        if method not in _READS or not is_success:
            return b"no-store"
        if b"authorization" in request or b"cookie" in request or b"set-cookie" in start.names:
            return b"private, no-store"
        return self._public

    @staticmethod
    def _validate(start: ResponseStart, condition: bytes | None, body: bytes | None) -> None:
        etag = start.value(b"etag")
        if etag is None and body is not None:
            etag = b'"' + sha256(body).hexdigest()[:32].encode() + b'"'
            start.add(b"etag", etag)
        if etag is not None and condition is not None and _matches(condition, etag):
            start.status = 304
            start.fields = [
                field for field in start.fields if field[0] in _NOT_MODIFIED or field[0].startswith(_ORIGINS)
            ]
