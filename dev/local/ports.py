"""TCP ports of this machine."""

import errno
import random
import socket

_BELOW_EPHEMERAL = range(20_000, 30_000)
"""No system uses these for outgoing connections, so that a server finds its port free when it starts again."""


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server can listen there now. Raises `OSError` if it cannot for another reason."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False


def free_port() -> int:
    """A port of 127.0.0.1 that no program listens on."""
    while True:
        port = random.choice(_BELOW_EPHEMERAL)  # noqa: S311 - not a secret
        if is_free(port):
            return port
