"""HTTP/1.1 as far as a call needs it, without any input or output of its own."""

from __future__ import annotations

import re
from collections.abc import Generator

from ._address import Address
from ._version import __version__
from .errors import ConnectionFailed

_BODY_MAX = 64 * 1024 * 1024
_LINE_MAX = 16 * 1024
_LINES_MAX = 200


def request(address: Address, body: bytes) -> bytes:
    """A request with this body."""
    lines = [
        f"POST {address.target} HTTP/1.1",
        f"Host: {address.host_header}",
        f"User-Agent: apnsd-python/{__version__}",
        "Content-Type: text/xml",
        f"Content-Length: {len(body)}",
    ]
    if address.authorization:
        lines.append(f"Authorization: {address.authorization}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


class Response:
    """Reads one response: ``feed`` takes what arrives, ``end`` is told when nothing more will.

    Both raise ConnectionFailed when what arrives is not HTTP.
    """

    def __init__(self) -> None:
        self.status = 0
        #: The text behind the number.
        self.phrase = ""
        self.body = b""
        #: Whether the connection can take another request afterwards.
        self.reusable = False
        self.complete = False
        self._buffer = bytearray()
        self._ended = False
        self._reading = self._read()
        next(self._reading)

    def feed(self, data: bytes) -> None:
        """More bytes. ``complete`` says whether the response is whole now."""
        self._buffer += data
        self._proceed()

    def end(self) -> None:
        """The peer closed the connection, which completes a response without a length."""
        self._ended = True
        self._proceed()

    def _proceed(self) -> None:
        if self.complete:
            self.reusable = False  # More than was asked for.
            return
        try:
            next(self._reading)
        except StopIteration:
            self.complete = True
            self.reusable = self.reusable and not self._buffer and not self._ended

    def _read(self) -> Generator[None, None, None]:
        """Reads from the buffer; yields where it needs more."""
        yield
        headers: dict[str, str] = {}
        while self.status < 200:  # 1xx only announce the response.
            headers = yield from self._head()
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = yield from self._chunks()
        elif self.status in (204, 304):
            body = b""
        elif "content-length" in headers:
            body = yield from self._bytes(_size(headers["content-length"], 10))
        else:
            body = yield from self._rest()
        self.body = body

    def _head(self) -> Generator[None, None, dict[str, str]]:
        first = yield from self._line()
        version, _, rest = first.partition(" ")
        number, _, self.phrase = rest.partition(" ")
        if not version.startswith("HTTP/1.") or not re.fullmatch("[0-9]{3}", number):
            raise ConnectionFailed(f"it does not speak HTTP/1.1 (it answered {first[:60]!r})")
        self.status = int(number)
        headers: dict[str, str] = {}
        for _ in range(_LINES_MAX):
            line = yield from self._line()
            if not line:
                connection = headers.get("connection", "").lower()
                self.reusable = "close" not in connection and (version != "HTTP/1.0" or "keep-alive" in connection)
                return headers
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        raise ConnectionFailed("its answer has too many headers")

    def _line(self) -> Generator[None, None, str]:
        while (length := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _LINE_MAX:
                raise ConnectionFailed("it does not speak HTTP/1.1 (a header has no end)")
            yield
        line = self._buffer[:length].decode("latin-1").rstrip("\r")
        del self._buffer[: length + 1]
        return line

    def _bytes(self, count: int) -> Generator[None, None, bytes]:
        while len(self._buffer) < count:
            yield
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _chunks(self) -> Generator[None, None, bytes]:
        body = bytearray()
        while True:
            line = yield from self._line()
            size = _size(line.partition(";")[0], 16, len(body))
            if size == 0:
                break
            body += yield from self._bytes(size)
            yield from self._line()
        while (yield from self._line()):
            pass  # Trailers say nothing that is needed.
        return bytes(body)

    def _rest(self) -> Generator[None, None, bytes]:
        self.reusable = False
        while not self._ended:
            if len(self._buffer) > _BODY_MAX:
                raise ConnectionFailed(_TOO_LARGE)
            yield
        return (yield from self._bytes(len(self._buffer)))


_TOO_LARGE = f"its answer is larger than {_BODY_MAX // 1024 // 1024} MiB"


def _size(text: str, base: int, before: int = 0) -> int:
    """The length of a body or chunk, within bounds."""
    digits = text.strip()
    if not digits.isalnum() or not digits.isascii():
        raise ConnectionFailed(f"it does not speak HTTP/1.1 (a length is {text[:60]!r})")
    try:
        size = int(digits, base)
    except ValueError:
        raise ConnectionFailed(f"it does not speak HTTP/1.1 (a length is {text[:60]!r})") from None
    if before + size > _BODY_MAX:
        raise ConnectionFailed(_TOO_LARGE)
    return size
