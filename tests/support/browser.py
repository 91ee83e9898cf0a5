"""A real Chromium, headless, driven by the W3C WebDriver protocol over HTTP."""

import base64
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import httpx

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The protocol's key of an element's id."""
PATIENCE_SECONDS = 20
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
)
T = TypeVar("T")


def find_chromium() -> tuple[str, str] | None:
    """The browser and its driver; None where one is missing."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def eventually(ask: Callable[[], T | None]) -> T:
    """The first result that is not empty."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if result := ask():
            return result
        time.sleep(0.05)
    raise TimeoutError("the page does not show what was waited for")


class Browser:
    """One session: a window with an empty profile."""

    def __init__(self, session: httpx.Client) -> None:
        self._session = session

    def ask(self, method: str, command: str, **values: Any) -> Any:
        return self._session.request(method, command, json=values if method == "POST" else None).json()["value"]

    def open(self, url: str) -> None:
        self.ask("POST", "url", url=url)

    def run(self, script: str, *arguments: object) -> Any:
        return self.ask("POST", "execute/sync", script=script, args=arguments)

    def find(self, selector: str) -> str:
        """The id of the first element that matches, as soon as there is one."""
        query = {"using": "css selector", "value": selector}
        return str(eventually(lambda: self.ask("POST", "element", **query).get(ELEMENT)))

    def click(self, selector: str) -> None:
        self.run("arguments[0].click()", {ELEMENT: self.find(selector)})

    def type(self, selector: str, text: str) -> None:
        self.ask("POST", f"element/{self.find(selector)}/value", text=text)

    def text(self, selector: str) -> str:
        return str(self.run("return arguments[0].innerText", {ELEMENT: self.find(selector)}))

    def complaints(self) -> list[str]:
        """The problems in the console: failed loads, errors of scripts, violations of the page's policy."""
        return [entry["message"] for entry in self.ask("POST", "se/log", type="browser") if entry["level"] == "SEVERE"]

    def loaded(self) -> list[str]:
        """Every HTTP address that was requested since the last call, without those that the page's policy blocked."""
        messages = [json.loads(entry["message"])["message"] for entry in self.ask("POST", "se/log", type="performance")]
        asked = {
            message["params"]["requestId"]: str(message["params"]["request"]["url"])
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        }
        for message in messages:
            if message["params"].get("blockedReason") == "csp":
                asked.pop(message["params"]["requestId"], None)
        return [url for url in asked.values() if url.startswith("http")]

    def screenshot(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.ask("GET", "screenshot")))


def _capabilities(chromium: str, profile: str) -> dict[str, Any]:
    options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={profile}"]}
    wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
    return {"capabilities": {"alwaysMatch": wanted}}


@contextmanager
def open_browser(chromium: str, driver: str) -> Iterator[Browser]:
    with (
        TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True) as process,
        httpx.Client(timeout=60) as http,
    ):
        try:
            assert process.stdout is not None
            port = next(match[1] for line in process.stdout if (match := re.search(r"on port (\d+)\.", line)))
            server = f"http://127.0.0.1:{port}/session"
            session = http.post(server, json=_capabilities(chromium, profile)).json()["value"]["sessionId"]
            http.base_url = httpx.URL(f"{server}/{session}/")
            yield Browser(http)
            http.delete(f"{server}/{session}")
        finally:
            process.terminate()
