"""The beginning of a response, which the parts of the exchange complete before it is sent."""

from starlette.types import Message

Fields = list[tuple[bytes, bytes]]


class ResponseStart:
    """Status and header fields; the names are in lower case, as ASGI requires."""

    __slots__ = ("fields", "names", "status")

    def __init__(self, message: Message) -> None:
        self.status: int = message["status"]
        # A new list: the message's own may be that of a response which is sent more than once.
        self.fields: Fields = list(message.get("headers", ()))
        self.names = {name for name, _ in self.fields}

    def value(self, name: bytes) -> bytes | None:
        return next((value for each, value in self.fields if each == name), None) if name in self.names else None

    def add(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))
        self.names.add(name)

    def set(self, name: bytes, value: bytes) -> None:
        """Replaces the field, if there is one."""
        if name in self.names:
            self.fields = [field for field in self.fields if field[0] != name]
        self.add(name, value)

    def message(self) -> Message:
        return {"type": "http.response.start", "status": self.status, "headers": self.fields}
