"""One id for a request, in its response and in every log line about it."""

import re
from collections.abc import Mapping
from random import getrandbits

HEADER = b"x-request-id"
_WELL_FORMED = re.compile(rb"[A-Za-z0-9._-]{1,64}")


def choose_request_id(headers: Mapping[bytes, bytes]) -> bytes:
    """The caller's well-formed `X-Request-ID`, so that a chain of services shares one; otherwise a new one."""
    given = headers.get(HEADER, b"")
    return given if given and _WELL_FORMED.fullmatch(given) else b"%032x" % getrandbits(128)  # it is no secret
