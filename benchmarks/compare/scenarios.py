"""What is measured: the requests of each scenario, and what every response to them must be."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.compare.stage import POSTS, USERNAME

API = "/api/v1"
FIRST_PAGE = "?page=1&items_per_page=10"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Requests that are sent in turns; `paths` without the API's prefix."""

    name: str
    title: str
    method: str
    paths: Sequence[str]
    status: int = 200
    is_cached: bool = False
    body: object = None

    def requests(self, port: int, token: str) -> list[bytes]:
        """The bytes to send; with the token only where the scenario is not a cached one."""
        body = json.dumps(self.body).encode() if self.body else b""
        fields = [f"Host: 127.0.0.1:{port}", "Accept: */*"]
        fields += [] if self.is_cached else [f"Authorization: Bearer {token}"]
        fields += ["Content-Type: application/json"] if body else []
        fields += [f"Content-Length: {len(body)}"] if self.method != "GET" else []
        lines = "\r\n".join(fields).encode()
        return [
            b"%b %b HTTP/1.1\r\n%b\r\n\r\n%b" % (self.method.encode(), f"{API}{path}".encode(), lines, body)
            for path in self.paths
        ]


_EACH_POST = [f"/{USERNAME}/post/{number}" for number in range(1, POSTS + 1)]

SCENARIOS = (
    Scenario("S1", "cached post", "GET", _EACH_POST, is_cached=True),
    Scenario("S2", "cached user", "GET", [f"/user/{USERNAME}"], is_cached=True),
    Scenario("S3", "cached users page", "GET", [f"/users{FIRST_PAGE}"], is_cached=True),
    Scenario("S4", "cached posts page", "GET", [f"/{USERNAME}/posts{FIRST_PAGE}"], is_cached=True),
    Scenario("S5", "user/me", "GET", ["/user/me/"]),
    Scenario("S6", "limited task", "POST", ["/tasks/task?message=hello"], status=201),
    Scenario(
        "S7",
        "create post",
        "POST",
        [f"/{USERNAME}/post"],
        status=201,
        body={"title": "A new post", "text": "The text of a new post.", "media_url": "https://example.com/a.png"},
    ),
    Scenario("S8", "patch post", "PATCH", _EACH_POST, body={"title": "A new title"}),
)
