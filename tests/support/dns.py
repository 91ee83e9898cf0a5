"""A DNS server in place of Docker's, for NGINX."""

import socket
import threading
from typing import Self


class Dns:
    """Responds to every question with `addresses`; `last_response` has those that were sent last."""

    def __init__(self) -> None:
        self.addresses: tuple[str, ...] = ()
        self.last_response: tuple[str, ...] | None = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            question, sender = self._socket.recvfrom(512)
            if not question:
                return
            announced = self.addresses
            addresses = [socket.inet_aton(address) for address in announced]
            header = question[:2] + b"\x81\x80\x00\x01" + len(addresses).to_bytes(2, "big") + b"\x00\x00\x00\x00"
            records = b"".join(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04" + address for address in addresses)
            end_of_name = question.index(b"\x00", 12) + 5
            self._socket.sendto(header + question[12:end_of_name] + records, sender)
            self.last_response = announced
