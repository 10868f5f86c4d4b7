"""A server that answers what it is told, and keeps what it was asked."""

from __future__ import annotations

import socket
import ssl
import threading
import xmlrpc.client
from collections.abc import Callable, Sequence
from typing import IO, Any, Union

#: Instead of an answer: the connection is closed, or the answer never comes.
CLOSE, SILENCE = "close", "silence"

Answer = Union[bytes, str]


def http(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    """A response with this body."""
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def xml(value: Any) -> bytes:
    """The body of an answer with this value."""
    return xmlrpc.client.dumps((value,), methodresponse=True, allow_none=True).encode()


def answer(value: Any) -> bytes:
    """An answer with this value."""
    return http(xml(value))


def fault(code: int, text: str) -> bytes:
    """An answer with this fault."""
    return http(xmlrpc.client.dumps(xmlrpc.client.Fault(code, text)).encode())


class Stub:
    """Gives each request the next answer, whatever connection it comes on; the last one again and again."""

    def __init__(self, *answers: Answer, context: ssl.SSLContext | None = None) -> None:
        self._answers: Sequence[Answer] = answers
        self._context = context
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}/"
        #: The requests: head and body.
        self.requests: list[tuple[str, bytes]] = []
        self.connections = 0
        #: Whether it answers without reading a body, and closes.
        self.is_hasty = False
        #: Is given each request's body, and holds up its answer until it returns.
        self.before_answer: Callable[[bytes], None] | None = None
        #: Is released for each connection that is over.
        self.gone = threading.Semaphore(0)
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Stub:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for connection in self._open:
            _shut(connection)
        for thread in self._threads[1:]:
            thread.join()

    def calls(self) -> list[tuple[str | None, tuple[Any, ...]]]:
        """The calls: method and arguments."""
        loaded = [xmlrpc.client.loads(body, use_builtin_types=True) for _, body in self.requests]
        return [(method, params) for params, method in loaded]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            with connection, connection.makefile("rb") as incoming:
                while head := _head(incoming):
                    if self.is_hasty:
                        self.requests.append((head, b""))
                        assert isinstance(self._answers[0], bytes)
                        connection.sendall(self._answers[0])
                        return
                    length = int(head.lower().split("content-length: ")[1].split()[0])
                    body = incoming.read(length)
                    with self._lock:
                        reply = self._answers[min(len(self.requests), len(self._answers) - 1)]
                        self.requests.append((head, body))
                    if self.before_answer:
                        self.before_answer(body)
                    if reply == CLOSE:
                        return
                    if reply != SILENCE:
                        assert isinstance(reply, bytes)
                        connection.sendall(reply)
                        if b"Content-Length" not in reply and b"chunked" not in reply:
                            return
        except OSError:
            pass  # The client went away.
        finally:
            connection.close()
            self.gone.release()

    def say(self, data: bytes) -> None:
        """Sends something on the last connection that nobody asked for."""
        self._open[-1].sendall(data)

    def hang_up(self) -> None:
        """Closes the last connection."""
        _shut(self._open[-1])


def _head(incoming: IO[bytes]) -> str:
    """The lines before a body; nothing when no more requests come."""
    lines: list[bytes] = []
    while (line := incoming.readline()) not in (b"", b"\r\n"):
        lines.append(line)
    return b"".join(lines).decode()


def _shut(connection: socket.socket) -> None:
    try:
        # Not that of an SSLSocket, which another thread reads from.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        pass  # It was closed before.
