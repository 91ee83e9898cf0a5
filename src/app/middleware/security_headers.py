"""What browsers must not do with a response (OWASP REST Security Cheat Sheet)."""

from app.middleware.response_start import ResponseStart

HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"content-security-policy": b"frame-ancestors 'none'",
}
HSTS = {b"strict-transport-security": b"max-age=31536000"}
"""A year (RFC 6797); subdomains are left to their owners."""


class SecurityHeaders:
    """The headers that a route does not set itself; `hsts` makes browsers refuse connections without TLS."""

    def __init__(self, *, hsts: bool) -> None:
        self._fields = list((HEADERS | (HSTS if hsts else {})).items())
        self._names = {name for name, _ in self._fields}

    def add_to(self, start: ResponseStart) -> None:
        if self._names.isdisjoint(start.names):
            start.fields += self._fields
        else:
            start.fields += [field for field in self._fields if field[0] not in start.names]
