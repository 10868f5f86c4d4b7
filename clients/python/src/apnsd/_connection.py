"""One connection of the blocking client."""

from __future__ import annotations

import select
import socket
import ssl
from time import monotonic
from typing import Any

from ._address import Address
from ._http import Response
from ._xmlrpc import IS_IT_APNSD, not_apnsd
from .errors import ConnectionFailed

_READ_MAX = 256 * 1024

# One and the same from Python 3.10 on.
_TIMEOUTS = (TimeoutError, socket.timeout)


class Broken(Exception):
    """The connection broke before the answer was whole."""


class Connection:
    """An open connection to the daemon.

    Raises ConnectionFailed where nobody listens, and TimeoutError at the deadline (of ``time.monotonic``).
    """

    def __init__(self, address: Address, context: ssl.SSLContext | None, deadline: float) -> None:
        self._address = address
        try:
            self._socket = _connect(address, deadline)
        except _TIMEOUTS as error:
            raise TimeoutError from error
        except (OSError, UnicodeError) as error:
            raise ConnectionFailed(f"no connection to {address}: {error}; is the daemon running?") from error
        if context is None:
            return
        try:
            self._socket.settimeout(_remaining(deadline))
            self._socket = context.wrap_socket(self._socket, server_hostname=address.host)
        except _TIMEOUTS as error:
            self._socket.close()
            raise TimeoutError from error
        except OSError as error:
            self._socket.close()
            raise no_tls(address, error) from error

    def close(self) -> None:
        """Closes it."""
        self._socket.close()

    def is_quiet(self) -> bool:
        """Whether nothing arrived since the last answer: neither bytes that nobody asked for nor the end."""
        return is_quiet(self._socket.fileno())

    def exchange(self, request: bytes, deadline: float) -> Response:
        """Sends a request and reads the response. Raises Broken."""
        response = Response()
        try:
            sending = self._send(request, deadline)
            while not response.complete:
                self._socket.settimeout(_remaining(deadline))
                data = self._socket.recv(_READ_MAX)
                if data:
                    response.feed(data)
                else:
                    response.end()
                    if not response.complete:
                        raise Broken(sending or "closed before the answer was whole")
        except ConnectionFailed as error:
            raise not_apnsd(self._address, error) from error
        except _TIMEOUTS as error:
            raise TimeoutError from error
        except OSError as error:
            raise Broken(error) from error
        return response

    def _send(self, request: bytes, deadline: float) -> OSError | None:
        """Sends the whole request. A peer that closes earlier may have said why: the error is returned then."""
        self._socket.settimeout(_remaining(deadline))
        try:
            self._socket.sendall(request)
        except (BrokenPipeError, ConnectionResetError) as error:
            return error
        return None


def _connect(address: Address, deadline: float) -> socket.socket:
    if address.unix is not None:
        return _connect_to(address.unix, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), _remaining(deadline))
    places = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    failure: OSError = OSError("the host has no address")
    for tried, (family, kind, protocol, _, place) in enumerate(places):
        try:
            # The first may keep silent, and the others should have their time too.
            return _connect_to(
                place, socket.socket(family, kind, protocol), _remaining(deadline) / (len(places) - tried)
            )
        except OSError as error:
            failure = error
    raise failure


def _connect_to(place: Any, connection: socket.socket, timeout: float) -> socket.socket:
    try:
        connection.settimeout(timeout)
        connection.connect(place)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


def is_quiet(file: int) -> bool:
    """Whether nothing arrived on a socket. (Without a file descriptor of its own: there may be no more.)"""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return not poll.poll(0)


def no_tls(address: Address, error: OSError) -> ConnectionFailed:
    """The error for a TLS connection that did not come about."""
    text = f"no TLS connection to {address}: {error}"
    # Whoever has a certificate, though one that nobody vouches for, speaks TLS.
    is_certificate = isinstance(error, ssl.SSLCertVerificationError)
    return ConnectionFailed(text if is_certificate else f"{text}; {IS_IT_APNSD}")


def _remaining(deadline: float) -> float:
    """Seconds until the deadline. Raises TimeoutError when there are none."""
    remaining = deadline - monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining
