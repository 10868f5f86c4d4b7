"""The client for asyncio."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterable
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar, cast

from ._address import Address
from ._aio_connection import Connection
from ._chunks import Tokens
from ._connection import Broken
from ._verbs import Exchange, Steps, Turn, Verbs
from ._xmlrpc import decode_answer, encode_call
from .client import Expiration, delivery_options
from .errors import ApnsdError, ConnectionFailed
from .notification import AnyNotification
from .results import Page, Rejection, Result
from .settings import Apps
from .times import seconds

T = TypeVar("T")


class Client:
    """As :class:`apnsd.Client`, with coroutines for verbs. For the tasks of one event loop at a time.

    A verb that is cancelled closes its connection; whether the daemon accepted what it was about, a repetition with
    the same ``request_id`` finds out.
    """

    def __init__(
        self,
        url: str | None = None,
        timeout: float = 20,
        apps: Apps | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._address = Address.of(url)
        self._timeout = seconds("timeout", timeout)
        self._verbs = Verbs(apps)
        self._ssl = (ssl_context or ssl.create_default_context()) if self._address.tls else None
        # These belong to one event loop: what is left from another is not used.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: list[Connection] = []
        self._turns: dict[str, asyncio.Lock] = {}

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections. The client can still be used: it opens new ones."""
        self._in_this_loop()
        while self._idle:
            self._idle.pop().close()

    async def configure(self, apps: Apps | None = None) -> None:
        """See :meth:`apnsd.Client.configure`."""
        await self._run(self._verbs.configure(apps))

    async def provision(
        self,
        app_id: str,
        certificate: str | bytes | os.PathLike[str] | None = None,
        environment: str | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> None:
        """See :meth:`apnsd.Client.provision`."""
        settings = {"certificate": certificate, "environment": environment, "timeout": timeout, **options}
        await self._run(self._verbs.provision(app_id, settings))

    async def notify(
        self,
        app_id: str,
        tokens: Tokens,
        notifications: AnyNotification | Iterable[AnyNotification],
        *,
        request_id: str | None = None,
        expiration: Expiration | Iterable[Expiration] | None = None,
        priority: int | Iterable[int] | None = None,
        collapse_id: str | Iterable[str] | None = None,
        push_type: str | Iterable[str] | None = None,
        topic: str | Iterable[str] | None = None,
    ) -> None:
        """See :meth:`apnsd.Client.notify`."""
        options = delivery_options(expiration, priority, collapse_id, push_type, topic)
        await self._run(self._verbs.notify(app_id, tokens, notifications, request_id, options))

    async def send(
        self,
        app_id: str,
        tokens: Tokens,
        notifications: AnyNotification | Iterable[AnyNotification],
        *,
        timeout: float = 10,
        request_id: str | None = None,
        expiration: Expiration | Iterable[Expiration] | None = None,
        priority: int | Iterable[int] | None = None,
        collapse_id: str | Iterable[str] | None = None,
        push_type: str | Iterable[str] | None = None,
        topic: str | Iterable[str] | None = None,
    ) -> list[Result]:
        """See :meth:`apnsd.Client.send`."""
        options = delivery_options(expiration, priority, collapse_id, push_type, topic)
        return await self._run(self._verbs.send(app_id, tokens, notifications, request_id, options, timeout))

    async def feedback(self, app_id: str, *, request_id: str | None = None) -> list[tuple[datetime, str]]:
        """See :meth:`apnsd.Client.feedback`."""
        return await self._run(self._verbs.feedback(app_id, request_id))

    async def feedback_after(self, app_id: str, cursor: str | None = None) -> Page[tuple[datetime, str]]:
        """See :meth:`apnsd.Client.feedback_after`."""
        return await self._run(self._verbs.feedback_after(app_id, cursor))

    async def rejections(self, app_id: str, cursor: str | None = None) -> Page[Rejection]:
        """See :meth:`apnsd.Client.rejections`."""
        return await self._run(self._verbs.rejections(app_id, cursor))

    async def apps(self) -> list[dict[str, Any]]:
        """See :meth:`apnsd.Client.apps`."""
        return await self._run(self._verbs.apps())

    async def status(self, app_id: str) -> dict[str, Any]:
        """See :meth:`apnsd.Client.status`."""
        return await self._run(self._verbs.status(app_id))

    async def deprovision(self, app_id: str) -> None:
        """See :meth:`apnsd.Client.deprovision`."""
        await self._run(self._verbs.deprovision(app_id))

    async def call(self, method: str, *params: Any) -> Any:
        """See :meth:`apnsd.Client.call`."""
        return await self._run(self._verbs.call(method, params))

    async def _run(self, steps: Steps[T]) -> T:
        """Takes the steps of a verb."""
        try:
            wanted = next(steps)
            while True:
                try:
                    outcome = await self._do(wanted)
                except ApnsdError as error:
                    wanted = steps.throw(error)
                else:
                    wanted = steps.send(outcome)
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            steps.close()

    async def _do(self, wanted: Exchange | Turn) -> Any:
        self._in_this_loop()
        if isinstance(wanted, Exchange):
            return await self._exchange(wanted)
        async with self._turns.setdefault(wanted.app_id, asyncio.Lock()):
            return await self._run(wanted.steps)

    async def _exchange(self, wanted: Exchange) -> Any:
        request = encode_call(self._address, wanted.method, wanted.params)
        limit = self._timeout + wanted.wait
        try:
            return await asyncio.wait_for(self._attempts(request, wanted.repeatable), limit)
        except asyncio.TimeoutError as error:
            raise ConnectionFailed(f"{self._address} gave no answer within {limit:g} seconds") from error
        except Broken as error:
            raise ConnectionFailed(f"the connection to {self._address} broke: {error}") from error

    async def _attempts(self, request: bytes, repeatable: bool) -> Any:
        connection = self._idle_one() or await self._open()
        try:
            return await self._attempt(connection, request)
        except Broken:
            if not repeatable:
                raise
            # Not one of those at hand: what broke one has perhaps broken all.
            return await self._attempt(await self._open(), request)

    async def _attempt(self, connection: Connection, request: bytes) -> Any:
        try:
            response = await connection.exchange(request)
        except BaseException:
            connection.close()
            raise
        if response.reusable:
            self._idle.append(connection)
        else:
            connection.close()
        return decode_answer(self._address, response)

    def _idle_one(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    async def _open(self) -> Connection:
        return await Connection.open(self._address, self._ssl)

    def _in_this_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._idle, self._turns = loop, [], {}
