"""The client for asyncio."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterable
from datetime import datetime
from time import monotonic
from types import TracebackType
from typing import Any, NoReturn, SupportsIndex, TypeVar, cast

from ._address import Address
from ._aio_connection import Connection
from ._chunks import Tokens
from ._connection import Broken
from ._turns import Attempts, Clock
from ._verbs import Exchange, Steps, Turn, Verbs
from ._xmlrpc import decode_answer, encode_call
from .client import Expiration, delivery_options, no_answer, no_turn
from .errors import ApnsdError, ConnectionFailed, InvalidArguments, UnknownAppID
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
        self._process = os.getpid()
        self._idle: list[Connection] = []
        self._turns: dict[str, tuple[asyncio.Lock, Attempts]] = {}

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Client cannot be pickled or copied: make one in each process, where it is used")

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

    async def _run(self, steps: Steps[T], clock: Clock | None = None) -> T:
        """Takes the steps of a verb."""
        clock = clock or Clock(self._timeout)
        try:
            wanted = next(steps)
            while True:
                try:
                    outcome = await self._do(wanted, clock)
                except ApnsdError as error:
                    wanted = steps.throw(error)
                else:
                    wanted = steps.send(outcome)
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            steps.close()

    async def _do(self, wanted: Exchange | Turn, clock: Clock) -> Any:
        self._in_this_loop()
        if isinstance(wanted, Exchange):
            limit = clock.limit(wanted.wait)
            clock.called()
            return await self._exchange(wanted, limit)
        lock, attempts = self._turns.setdefault(wanted.app_id, (asyncio.Lock(), Attempts()))
        awaited, begun, limit = attempts.awaited(), monotonic(), clock.limit(wanted.wait)
        if not await _acquired(lock, limit):
            raise no_turn(self._address, wanted.app_id, limit)
        try:
            with attempts.attempt(awaited):
                return await self._run(wanted.steps, clock.waited(monotonic() - begun, wanted.wait))
        finally:
            lock.release()

    async def _exchange(self, wanted: Exchange, limit: float) -> Any:
        request = encode_call(self._address, wanted.method, wanted.params)
        try:
            return await asyncio.wait_for(self._attempts(request, wanted), limit)
        except asyncio.TimeoutError as error:
            raise no_answer(self._address, self._timeout + wanted.wait, limit) from error
        except Broken as error:
            raise ConnectionFailed(f"the connection to {self._address} broke: {error}") from error

    async def _attempts(self, request: bytes, wanted: Exchange) -> Any:
        connection = self._idle_one() or await self._open()
        try:
            return await self._attempt(connection, request)
        except Broken:
            if not wanted.repeatable:
                raise
            # Not one of those at hand: what broke one has perhaps broken all.
            try:
                return await self._attempt(await self._open(), request)
            except UnknownAppID:
                if wanted.removes:
                    return None
                raise

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
            connection.close()
        return None

    async def _open(self) -> Connection:
        return await Connection.open(self._address, self._ssl)

    def _in_this_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is loop and self._process == os.getpid():
            return
        # What a fork copies of a loop seems to run.
        if self._loop is not None and self._loop.is_running() and self._process == os.getpid():
            raise InvalidArguments("this client is in use in another event loop: make one for each")
        self._loop, self._process, self._idle, self._turns = loop, os.getpid(), [], {}


async def _acquired(lock: asyncio.Lock, limit: float) -> bool:
    """Waits for a lock, at most so many seconds. (Before Python 3.12 `wait_for` may lose one that it got.)"""
    acquiring = asyncio.ensure_future(lock.acquire())
    try:
        await asyncio.wait({acquiring}, timeout=limit)
    except asyncio.CancelledError:
        if acquiring.done():
            lock.release()
        else:
            acquiring.cancel()
        raise
    if not acquiring.done():
        acquiring.cancel()
        return False
    return True
