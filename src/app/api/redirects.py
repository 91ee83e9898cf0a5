"""Redirections to the other form of a path, without the host name that the client sent."""

from starlette.types import Message, Scope, Send


def with_relative_location(scope: Scope, send: Send) -> Send:
    """FastAPI redirects to the other form of a path (`/users/`) with the `Host` that the client sent: leave it out."""

    async def send_relative(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 307 and "endpoint" not in scope:
            target = {name: value for name, value in message["headers"] if name == b"location"}
            path = b"/" + target[b"location"].partition(b"://")[2].partition(b"/")[2].lstrip(b"/")
            others = [field for field in message["headers"] if field[0] != b"location"]
            message = {**message, "headers": [*others, (b"location", path)]}
        await send(message)

    return send_relative if scope["type"] == "http" else send
