"""The one screen that tells how to use a local run."""

import shlex
from contextlib import suppress
from pathlib import Path

from dev.local.environment import LocalSettings


def say(text: str) -> None:
    """One line of the runner itself; a closed terminal is no reason to leave programs behind."""
    with suppress(OSError):
        print(f"run: {text}", flush=True)


def address(host: str, port: int) -> str:
    """The base URL for a browser on this machine; a server that listens everywhere also listens here."""
    name = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}"


def welcome(base: str, settings: LocalSettings, local: Path) -> str:
    """Where the documentation is, how to log in, where the data are and how to stop."""
    fields = (f"username={settings.ADMIN_USERNAME}", f"password={settings.ADMIN_PASSWORD}")
    data = " ".join(f"--data-urlencode {shlex.quote(field)}" for field in fields)
    return f"""
  The API is ready.

  Documentation  {base}/docs
  ReDoc          {base}/redoc
  Log in as      {settings.ADMIN_USERNAME} with the password {settings.ADMIN_PASSWORD} (ADMIN_* in src/.env), or by

    curl -s {data} {base}/api/v1/login

  Data and logs  {local}
  Stop           Ctrl-C
"""
