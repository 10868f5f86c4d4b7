"""The client for programs that block while they wait."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from time import monotonic
from types import TracebackType
from typing import Any, NoReturn, SupportsIndex, TypeVar, Union, cast

from ._address import Address
from ._chunks import Tokens
from ._connection import Broken, Connection
from ._turns import Attempts, Clock
from ._verbs import Exchange, Steps, Turn, Verbs
from ._xmlrpc import decode_answer, encode_call
from .errors import ApnsdError, ConnectionFailed, UnknownAppID
from .notification import AnyNotification
from .results import Page, Rejection, Result
from .settings import Apps
from .times import seconds

T = TypeVar("T")

#: When a notification is given up: Unix seconds, an aware datetime, or a timedelta from now.
Expiration = Union[int, datetime, timedelta]


class Client:
    """Calls the daemon. One client serves all threads of a process, also after a fork.

    ``url`` is ``http://host:port/``, ``https://…``, with ``user:password@`` where needed, or
    ``unix:/run/apnsd/apnsd.sock``; without one the environment variable ``APNSD_URL`` counts, else
    ``http://127.0.0.1:7077/``. ``timeout`` bounds how long a call of the daemon may take, in seconds; what the daemon
    was asked to wait comes on top. ``apps`` has the settings of the application's apps, by app id. ``ssl_context``
    replaces the system's trust store for ``https``.

    An app that has settings is provisioned before its first use, and again when the daemon does not know it. Every
    verb raises an :class:`~apnsd.ApnsdError`; ConnectionFailed and InvalidArguments can come from any of them.
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
        # Connections that no thread uses now, and the locks behind Turn. Both belong to one process: what a fork
        # copies is not used there.
        self._idle: dict[int, list[Connection]] = {}
        self._turns: dict[tuple[int, str], tuple[threading.Lock, Attempts]] = {}

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Client cannot be pickled or copied: make one in each process, where it is used")

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections. The client can still be used: it opens new ones."""
        self._close(os.getpid())

    def configure(self, apps: Apps | None = None) -> None:
        """Adds apps to those of this client, or replaces their settings, and provisions each; without any, all it has.

        An app that fails does not stop those behind it; the first failure is raised. Settings that are refused do not
        replace earlier ones. NotConfigured: there are no apps.
        """
        self._run(self._verbs.configure(apps))

    def provision(
        self,
        app_id: str,
        certificate: str | bytes | os.PathLike[str] | None = None,
        environment: str | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> None:
        """Provisions an app, with these settings (the fields of :class:`~apnsd.App`), which the client keeps.

        If they are refused (InvalidArguments, InvalidEnvironment) and it has others for the app, it keeps those
        instead. With nothing but the app id, with the settings that the client has; NotConfigured where it has none.
        """
        settings = {"certificate": certificate, "environment": environment, "timeout": timeout, **options}
        self._run(self._verbs.provision(app_id, settings))

    def notify(
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
        """Has the daemon accept notifications for delivery: when this returns, they are on its disk.

        ``tokens`` is one device token (hex or base64 text, or raw bytes) or any iterable of them, ``notifications``
        one for all or an iterable with one for each; so are the options. More than 10,000 tokens go out in several
        calls, as the iterable yields them. A call repeated with the same ``request_id`` and content within 15 minutes
        has no second effect.
        """
        options = delivery_options(expiration, priority, collapse_id, push_type, topic)
        self._run(self._verbs.notify(app_id, tokens, notifications, request_id, options))

    def send(
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
        """As notify, but waits for what becomes of each, at most ``timeout`` seconds (60 at most) for 1,000 tokens.

        What has no outcome by then is ``queued`` and stays so.
        """
        options = delivery_options(expiration, priority, collapse_id, push_type, topic)
        return self._run(self._verbs.send(app_id, tokens, notifications, request_id, options, timeout))

    def feedback(self, app_id: str, *, request_id: str | None = None) -> list[tuple[datetime, str]]:
        """Device tokens that are dead, in lowercase hex, and since when (UTC).

        Each is handed out once as long as the daemon lives: one that was handed out within a second or two before a
        crash may come again. A call repeated with the same ``request_id``, such as that of a ConnectionFailed, is given
        the same, and what has come since. See feedback_after for those that the program lost.
        """
        return self._run(self._verbs.feedback(app_id, request_id))

    def feedback_after(self, app_id: str, cursor: str | None = None) -> Page[tuple[datetime, str]]:
        """The same behind a cursor, whether handed out or not: keep the cursor with what you did, and lose nothing.

        Without a cursor, or an empty one, from the beginning.
        """
        return self._run(self._verbs.feedback_after(app_id, cursor))

    def rejections(self, app_id: str, cursor: str | None = None) -> Page[Rejection]:
        """Notifications that will not be delivered, behind a cursor; also of an app that was deprovisioned.

        Without a cursor, or an empty one, from the beginning.
        """
        return self._run(self._verbs.rejections(app_id, cursor))

    def apps(self) -> list[dict[str, Any]]:
        """The status of every app that the daemon has, by name."""
        return self._run(self._verbs.apps())

    def status(self, app_id: str) -> dict[str, Any]:
        """What the daemon's ``apnsd.status`` tells of an app: ``state``, ``cause``, ``waiting``, ``expires``, …"""
        return self._run(self._verbs.status(app_id))

    def deprovision(self, app_id: str) -> None:
        """Removes an app from the daemon, and its settings from this client. What waits becomes rejections."""
        self._run(self._verbs.deprovision(app_id))

    def call(self, method: str, *params: Any) -> Any:
        """Any method of the daemon, such as ``apnsd.pause``, with what ``xmlrpc.client`` can write.

        It is neither recovered nor repeated. A datetime among the params counts as UTC.
        """
        return self._run(self._verbs.call(method, params))

    def _run(self, steps: Steps[T], clock: Clock | None = None) -> T:
        """Takes the steps of a verb."""
        clock = clock or Clock(self._timeout)
        try:
            wanted = next(steps)
            while True:
                try:
                    outcome = self._do(wanted, clock)
                except ApnsdError as error:
                    wanted = steps.throw(error)
                else:
                    wanted = steps.send(outcome)
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            steps.close()

    def _do(self, wanted: Exchange | Turn, clock: Clock) -> Any:
        if isinstance(wanted, Exchange):
            limit = clock.limit(wanted.wait)
            clock.called()
            return self._exchange(wanted, limit)
        lock, attempts = self._turns.setdefault((os.getpid(), wanted.app_id), (threading.Lock(), Attempts()))
        awaited, begun, limit = attempts.awaited(), monotonic(), clock.limit(wanted.wait)
        if not lock.acquire(timeout=limit):
            raise no_turn(self._address, wanted.app_id, limit)
        try:
            with attempts.attempt(awaited):
                return self._run(wanted.steps, clock.waited(monotonic() - begun, wanted.wait))
        finally:
            lock.release()

    def _exchange(self, wanted: Exchange, limit: float) -> Any:
        request = encode_call(self._address, wanted.method, wanted.params)
        deadline = monotonic() + limit
        try:
            try:
                return self._attempt(self._connection(deadline), request, deadline)
            except Broken:
                if not wanted.repeatable:
                    raise
                # Not one of those at hand: what broke one has perhaps broken all.
                try:
                    return self._attempt(self._open(deadline), request, deadline)
                except UnknownAppID:
                    if wanted.removes:
                        return None
                    raise
        except TimeoutError as error:
            raise no_answer(self._address, self._timeout + wanted.wait, limit) from error
        except Broken as error:
            raise ConnectionFailed(f"the connection to {self._address} broke: {error}") from error

    def _attempt(self, connection: Connection, request: bytes, deadline: float) -> Any:
        try:
            response = connection.exchange(request, deadline)
        except BaseException:
            connection.close()
            raise
        if response.reusable:
            self._idle.setdefault(os.getpid(), []).append(connection)
        else:
            connection.close()
        return decode_answer(self._address, response)

    def _connection(self, deadline: float) -> Connection:
        for process in list(self._idle):
            if process != os.getpid():
                self._close(process)
        idle = self._idle.setdefault(os.getpid(), [])
        while True:
            try:
                connection = idle.pop()
            except IndexError:
                return self._open(deadline)
            if connection.is_quiet():
                return connection
            connection.close()

    def _open(self, deadline: float) -> Connection:
        return Connection(self._address, self._ssl, deadline)

    def _close(self, process: int) -> None:
        idle = self._idle.pop(process, [])
        with suppress(IndexError):  # Other threads may take some meanwhile.
            while True:
                idle.pop().close()


def no_turn(address: Address, app_id: str, limit: float) -> ConnectionFailed:
    """The error of a call that waited in vain for another that provisions the app."""
    return ConnectionFailed(
        f"{address} gave no answer within {limit:.3g} seconds to another call, which provisions {app_id}"
    )


def no_answer(address: Address, allowed: float, limit: float) -> ConnectionFailed:
    """The error of a call that had so many seconds of those allowed, and got no answer in them."""
    text = f"{address} gave no answer within {allowed:g} seconds"
    if allowed - limit >= 0.05:
        text += f", of which {allowed - limit:.1f} were spent waiting for another call that provisions the app"
    return ConnectionFailed(text)


def delivery_options(
    expiration: object, priority: object, collapse_id: object, push_type: object, topic: object
) -> Mapping[str, object]:
    """The options of ``notify`` and ``send``, by the daemon's names."""
    return {
        "expiration": expiration,
        "priority": priority,
        "collapse_id": collapse_id,
        "push_type": push_type,
        "topic": topic,
    }
