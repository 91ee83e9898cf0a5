"""A request to an ASGI application without a server and without a client library."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message


@dataclass(frozen=True, slots=True)
class AsgiRequest:
    """What to send; `body` becomes JSON."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: object = None

    async def send_to(self, app: ASGIApp) -> tuple[int, dict[bytes, bytes]]:
        """Status and headers of the response."""
        content = b"" if self.body is None else json.dumps(self.body).encode()
        headers = dict(self.headers) | ({"Content-Type": "application/json"} if content else {})
        headers |= {"Host": "testserver", "Content-Length": str(len(content))}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("192.0.2.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        start: Message = {}

        async def receive() -> Message:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)

        await app(scope, receive, send)
        return start["status"], dict(start["headers"])
