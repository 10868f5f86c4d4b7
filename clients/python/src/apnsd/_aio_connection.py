"""One connection of the asyncio client."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from ._address import Address
from ._connection import Broken, is_quiet, no_tls
from ._http import Response
from ._xmlrpc import not_apnsd
from .errors import ConnectionFailed


class Connection(asyncio.Protocol):
    """An open connection to the daemon; made by :meth:`open`. For one exchange at a time."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._transport: asyncio.Transport | None = None
        # Of the exchange under way.
        self._response = Response()
        self._done: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, address: Address, context: ssl.SSLContext | None) -> Connection:
        """Connects. Raises ConnectionFailed where nobody listens."""
        loop = asyncio.get_running_loop()
        try:
            if address.unix is not None:
                _, connection = await loop.create_unix_connection(lambda: cls(address), address.unix)
            else:
                _, connection = await loop.create_connection(
                    lambda: cls(address), address.host, address.port, ssl=context
                )
        except ssl.SSLError as error:
            raise no_tls(address, error) from error
        except (OSError, UnicodeError) as error:
            raise ConnectionFailed(f"no connection to {address}: {error}; is the daemon running?") from error
        return connection

    @property
    def is_open(self) -> bool:
        """Whether it can take a request: it may be over though its event loop had no time to hear of it."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        return is_quiet(transport.get_extra_info("socket").fileno())

    def close(self) -> None:
        """Closes it at once."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    async def exchange(self, request: bytes) -> Response:
        """Sends a request and reads the response. Raises Broken, or ConnectionFailed where it is not HTTP."""
        if self._transport is None:
            raise Broken("closed before the request")
        self._response = Response()
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            await self._done
        except ConnectionFailed as error:
            raise not_apnsd(self._address, error) from error
        finally:
            self._done = None
        return self._response

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._done is None:
            self.close()  # Nobody asked for this.
            return
        try:
            self._response.feed(data)
        except ConnectionFailed as error:
            self._end(error)
        else:
            if self._response.complete:
                self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        try:
            self._response.end()
        except ConnectionFailed as failure:
            self._end(failure)
        else:
            broken = Broken(error or "closed before the answer was whole")
            self._end(None if self._response.complete else broken)

    def _end(self, error: Exception | None) -> None:
        if self._done is None or self._done.done():
            return
        if error:
            self._done.set_exception(error)
        else:
            self._done.set_result(None)
