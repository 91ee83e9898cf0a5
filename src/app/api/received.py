"""A request's body that can be received twice: by a short way first, and then by FastAPI."""

from collections import deque

from starlette.types import Message, Receive


class Received:
    """Remembers what was received, errors included; `again` begins with that, and continues."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._outcomes: deque[Message | Exception] = deque()

    async def __call__(self) -> Message:
        try:
            message = await self._receive()
        except Exception as error:
            self._outcomes.append(error)
            raise
        self._outcomes.append(message)
        return message

    async def again(self) -> Message:
        outcome = self._outcomes.popleft() if self._outcomes else await self._receive()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome
