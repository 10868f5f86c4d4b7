"""The functions of pyapns' Python client (0.4.1), on top of :class:`apnsd.Client`.

``import apnsd.pyapns as pyapns`` is all that code written for pyapns needs; PYAPNS.md lists what differs. For code that
cannot be changed::

    import sys, apnsd.pyapns
    sys.modules["pyapns"] = sys.modules["pyapns.client"] = apnsd.pyapns
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import xmlrpc.client
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo
from typing import Any, Optional

from .client import Client
from .errors import ApnsdError, ConnectionFailed, InvalidArguments, InvalidEnvironment, NotConfigured, UnknownAppID
from .settings import App

__all__ = [
    "OPTIONS",
    "APNSNotConfigured",
    "DateTime",
    "Fault",
    "TimedOut",
    "UnknownAppID",
    "configure",
    "feedback",
    "notify",
    "provision",
]

#: What `configure` was given: HOST, TIMEOUT (seconds a call may take), INITIAL. Each call reads it anew.
OPTIONS: dict[str, Any] = {"CONFIGURED": False, "TIMEOUT": 20}

#: Raised by a call when nothing says where the daemon is.
APNSNotConfigured = NotConfigured

#: What `import pyapns.client` finds where this module stands for pyapns.
client = sys.modules[__name__]

log = logging.getLogger("apnsd")

#: Stands in the error of every call whose time was up, also of one that waited for another's.
NO_ANSWER = " gave no answer within "

Callback = Optional[Callable[[Any], Any]]


class Fault(xmlrpc.client.Fault, ApnsdError):
    """A fault of the daemon: an `xmlrpc.client.Fault`, as pyapns raised it, and an `apnsd.ApnsdError`.

    One of code 404 is `UnknownAppID` instead, which is no `xmlrpc.client.Fault`, as in pyapns.
    """

    def __init__(
        self, text: str = "", *, code: int | None = None, request_id: str | None = None, accepted: int = 0
    ) -> None:
        ApnsdError.__init__(self, text, code=code, request_id=request_id, accepted=accepted)
        self.faultCode = code or 0
        self.faultString = text

    def __str__(self) -> str:
        return repr(self)


class TimedOut(ConnectionFailed, socket.timeout):
    """There was no answer in time: a `socket.timeout`, as pyapns raised it, and an `apnsd.ConnectionFailed`."""


class DateTime(datetime):
    """A time in feedback: an aware `datetime` in UTC that old code can go on using.

    It has the `value` and the text of `xmlrpc.client.DateTime` ("20110313T07:06:40"), and compares with and is
    subtracted from naive times, which count as UTC. A naive time never equals it: equal values need equal hashes.
    """

    @property
    def value(self) -> str:
        """The time as XML-RPC writes it."""
        return self.strftime("%Y%m%dT%H:%M:%S")

    def __str__(self) -> str:
        return self.value

    def __lt__(self, other: Any) -> bool:
        return super().__lt__(_aware(other))

    def __le__(self, other: Any) -> bool:
        return super().__le__(_aware(other))

    def __gt__(self, other: Any) -> bool:
        return super().__gt__(_aware(other))

    def __ge__(self, other: Any) -> bool:
        return super().__ge__(_aware(other))

    def __sub__(self, other: Any) -> Any:
        return super().__sub__(_aware(other))

    def __rsub__(self, other: Any) -> Any:
        return _aware(other) - self.astimezone(timezone.utc)

    def astimezone(self, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """A plain `datetime`: databases store the text of what this returns, and read no XML-RPC."""
        return datetime.combine(self.date(), self.timetz()).astimezone(tz)


def _aware(time: Any) -> Any:
    naive = isinstance(time, datetime) and time.tzinfo is None
    return time.replace(tzinfo=timezone.utc) if naive else time


def configure(opts: Mapping[str, Any] | None) -> bool:
    """Takes HOST, TIMEOUT and INITIAL, and provisions all apps of INITIAL; the first failure is then raised.

    A certificate that cannot be used, such as one that has expired, is no failure, as in pyapns: the logger `apnsd`
    warns with the reason, the other apps work, and calls for this one raise it.

    `PYAPNS_CONFIG` of Django's settings comes before `opts`. Ignored unless ``OPTIONS["CONFIGURED"]`` is false.
    """
    if _load(opts) and OPTIONS.get("INITIAL"):
        with _faults():
            client = _client()
            apps = apps_of_initial(OPTIONS["INITIAL"])
            _forget_provisioned(apps)
            _provision_all(client, apps)
    return bool(OPTIONS["CONFIGURED"])


def _provision_all(client: Client, apps: Mapping[str, App]) -> None:
    first: ApnsdError | None = None
    for app_id, app in apps.items():
        try:
            client.configure({app_id: app})
        except InvalidArguments as error:
            if error.code is None:
                first = first or error
            else:  # The daemon judged the certificate.
                log.warning("INITIAL: %s cannot be provisioned: %s", app_id, error.text)
        except ApnsdError as error:
            first = first or error
    if first:
        raise first


def provision(
    app_id: str,
    path_to_cert: str,
    environment: str,
    timeout: float | None = 15,
    async_: bool = False,
    callback: Callback = None,
    errback: Callback = None,
    **keywords: bool,
) -> Any:
    """Adds an app to the daemon, or replaces its certificate: a path on the daemon's machine, or the text itself.

    `timeout` bounds the daemon's connection attempts, in seconds. The other arguments are those of every call:
    `callback` gets what the call returns, `errback` the error that the daemon answers; with `async_` (or ``async``, by
    keyword only) the call runs in a thread of its own, returns None, and `errback` gets every error.
    """

    def call() -> None:
        try:
            _client().provision(app_id, path_to_cert, environment, timeout)
        except (InvalidArguments, InvalidEnvironment, NotConfigured):
            raise
        except ApnsdError:
            _provisioned[app_id] = app()
            raise
        _provisioned[app_id] = app()

    def app() -> App:
        return App(path_to_cert, environment=environment, timeout=15 if timeout is None else timeout)

    return _run(call, async_, callback, errback, keywords)


def notify(
    app_id: str,
    tokens: Any,
    notifications: Any,
    async_: bool = False,
    callback: Callback = None,
    errback: Callback = None,
    **keywords: bool,
) -> Any:
    """Has notifications sent: one token and one notification, one for many tokens, or one for each.

    For the arguments after these see `provision`.
    """

    def call() -> None:
        _client().notify(app_id, tokens, notifications)

    return _run(call, async_, callback, errback, keywords)


def feedback(
    app_id: str, async_: bool = False, callback: Callback = None, errback: Callback = None, **keywords: bool
) -> Any:
    """The devices that the provider called dead since the last time: a list of [`DateTime`, token in hex].

    For the arguments after the first see `provision`.
    """

    def call() -> list[list[Any]]:
        return [[DateTime.combine(time, time.timetz()), token] for time, token in _client().feedback(app_id)]

    return _run(call, async_, callback, errback, keywords)


def apps_of_initial(initial: Sequence[Sequence[Any]]) -> dict[str, App]:
    """The apps that an INITIAL lists as (app_id, certificate, environment[, timeout])."""
    apps = {}
    for index, entry in enumerate(initial):
        if not isinstance(entry, (list, tuple)) or len(entry) not in (3, 4) or not isinstance(entry[0], str):
            raise InvalidArguments(f"INITIAL[{index}]: (app_id, certificate, environment[, timeout]) is needed")
        settings = dict(zip(("certificate", "environment", "timeout"), entry[1:]))
        apps[entry[0]] = App.from_mapping(entry[0], settings)
    return apps


def url_of_host(host: str) -> str:
    """A HOST as URL: it may lack the scheme."""
    return host if "://" in host or host.startswith("unix:") else f"http://{host}"


@dataclass(frozen=True)
class _Present:
    """A client, and what of OPTIONS it was made from."""

    client: Client
    host: str
    seconds: float
    initial: list[tuple[Any, ...]]


_present: _Present | None = None
#: Guards the exchange of the present client for the next, and nothing that takes time: a fork in another thread, or
#: settings of Django that call `configure` when they are imported, would find it held.
_lock = threading.Lock()
#: What `provision` was given, for the next client when OPTIONS change.
_provisioned: dict[str, App] = {}


def _renew_lock() -> None:
    """In a new process: a thread that held the lock is not there to let go of it."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _load(opts: Mapping[str, Any] | None) -> bool:
    """Fills OPTIONS; false when that was done before."""
    if OPTIONS["CONFIGURED"]:
        return False
    config = _django_config()
    if OPTIONS["CONFIGURED"] and not config:
        return False  # The settings of Django called `configure` themselves, when they were imported for this one.
    OPTIONS.update(config or opts or {})
    OPTIONS["CONFIGURED"] = True
    return True


def _django_config() -> Mapping[str, Any] | None:
    """`PYAPNS_CONFIG`, where Django is in use and has it."""
    try:
        from django.conf import settings
    except ImportError:
        return None
    if not (settings.configured or "DJANGO_SETTINGS_MODULE" in os.environ):
        return None
    try:
        config: Mapping[str, Any] | None = getattr(settings, "PYAPNS_CONFIG", None)
    except Exception as error:  # The module is anybody's, and may raise anything.
        log.warning(
            "Django's settings cannot be read, and no PYAPNS_CONFIG in them: %s: %s", type(error).__name__, error
        )
        return None
    return config


def _client() -> Client:
    """The client for what OPTIONS say now."""
    global _present
    _load({})
    host, seconds, initial = (OPTIONS.get(name) for name in ("HOST", "TIMEOUT", "INITIAL"))
    if not host:
        OPTIONS["CONFIGURED"] = False  # So that the configure that is called for is not ignored.
        raise APNSNotConfigured(
            'nothing says where the daemon is: call configure({"HOST": "http://127.0.0.1:7077/"}) first'
        )
    if not isinstance(initial, (list, tuple, type(None))):
        OPTIONS["INITIAL"] = initial = list(initial)  # An iterator gives its entries once.
    present, wanted = _present, (host, 20 if seconds is None else seconds, _rows(initial or ()))
    if present is not None and (present.host, present.seconds, present.initial) == wanted:
        return present.client
    apps = apps_of_initial(initial or ())
    if present is not None and present.initial != wanted[2]:
        _forget_provisioned(apps)
    client = Client(url_of_host(host), wanted[1], {**apps, **_provisioned})
    with _lock:
        is_next = _present is present
        if is_next:
            _present = _Present(client, *wanted)
    if present is not None and is_next:
        present.client.close()
    return client if is_next else _client()


def _rows(initial: Sequence[Any]) -> list[tuple[Any, ...]]:
    """A copy of INITIAL, which its owner may change."""
    return [tuple(entry) if isinstance(entry, (list, tuple)) else (entry,) for entry in initial]


def _forget_provisioned(app_ids: Iterable[str]) -> None:
    for app_id in app_ids:
        _provisioned.pop(app_id, None)


def _run(
    call: Callable[[], Any], async_: bool, callback: Callback, errback: Callback, keywords: dict[str, bool]
) -> Any:
    """Makes a call, here or in a thread, and hands over what comes of it."""
    in_thread = keywords.pop("async", async_)
    if keywords:
        raise TypeError(f"unexpected keyword argument {next(iter(keywords))!r}")
    if callable(in_thread):
        raise TypeError("a function stands where `async` belongs: pass it as callback=…")
    if not in_thread:
        return _finish(call, callback, errback, (Fault, UnknownAppID))
    threading.Thread(target=_finish, args=(call, callback, errback, (Exception,)), daemon=True).start()
    return None


def _finish(call: Callable[[], Any], callback: Callback, errback: Callback, told: tuple[type[Exception], ...]) -> Any:
    """Passes the result through `callback`, an error of the classes `told` to `errback`; others are raised."""
    try:
        with _faults():
            result = call()
    except told as error:
        if errback is None:
            raise
        errback(error)
        return None
    return result if callback is None else callback(result)


@contextmanager
def _faults() -> Iterator[None]:
    """Raises what the daemon answered as `Fault`, and gives socket errors their class and number."""
    try:
        yield
    except UnknownAppID:
        raise
    except ConnectionFailed as error:
        if NO_ANSWER in error.text:
            raise TimedOut(error.text, request_id=error.request_id, accepted=error.accepted) from error
        error.errno = _errno(error)
        raise
    except ApnsdError as error:
        if error.code is None:
            raise
        fault = Fault(error.text, code=error.code, request_id=error.request_id, accepted=error.accepted)
        raise fault from error


def _errno(error: BaseException) -> int | None:
    """The number of the socket error that another error comes from."""
    cause = error.__cause__
    while cause is not None:
        number: int | None = getattr(cause, "errno", None)
        if number is not None:
            return number
        cause = cause.__cause__
    return None
