"""A real login, so that the welcome screen shows only what works."""

import json
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlencode, urlsplit

_SECONDS = 10.0


def responds(base: str) -> bool:
    """Whether the API at this address is up."""
    connection = HTTPConnection(urlsplit(base).netloc, timeout=1)
    try:
        connection.request("GET", "/api/v1/health")
        return connection.getresponse().status < 500
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def find_login_problem(base: str, username: str, password: str) -> str:
    """Why the API refuses the login, in a few words; empty if it accepts it."""
    connection = HTTPConnection(urlsplit(base).netloc, timeout=_SECONDS)
    form = urlencode({"username": username, "password": password})
    try:
        connection.request("POST", "/api/v1/login", form, {"Content-Type": "application/x-www-form-urlencoded"})
        response = connection.getresponse()
        body = response.read()
        return "" if response.status == 200 else f"{response.status} {_detail(body)}".strip()
    except (OSError, HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return ""
