"""The functions of pyapns' Python client (0.4.1), on top of :class:`apnsd.Client`.

``import apnsd.pyapns as pyapns`` is all that code written for pyapns needs; PYAPNS.md lists what differs. For code that
cannot be changed::

    import sys, apnsd.pyapns
    sys.modules["pyapns"] = sys.modules["pyapns.client"] = apnsd.pyapns
"""

from __future__ import annotations

import os
import sys
import threading
import xmlrpc.client
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone, tzinfo
from typing import Any, Optional

from .client import Client
from .errors import ApnsdError, InvalidArguments, NotConfigured, UnknownAppID
from .settings import App

__all__ = [
    "OPTIONS",
    "APNSNotConfigured",
    "DateTime",
    "Fault",
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
    """Takes HOST, TIMEOUT and INITIAL, and provisions all apps of INITIAL; the first that fails is then raised.

    `PYAPNS_CONFIG` of Django's settings comes before `opts`. Ignored unless ``OPTIONS["CONFIGURED"]`` is false.
    """
    if _load(opts) and OPTIONS.get("INITIAL"):
        with _faults():
            _client().configure(apps_of_initial(OPTIONS["INITIAL"]))
    return bool(OPTIONS["CONFIGURED"])


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
        _client().provision(app_id, path_to_cert, environment, timeout)

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
        if isinstance(entry, str) or len(entry) not in (3, 4):
            raise InvalidArguments(f"INITIAL[{index}]: (app_id, certificate, environment[, timeout]) is needed")
        settings = zip(("certificate", "environment", "timeout"), entry[1:])
        apps[entry[0]] = App.from_mapping(entry[0], {name: value for name, value in settings if value is not None})
    return apps


def url_of_host(host: str) -> str:
    """A HOST as URL: it may lack the scheme."""
    return host if "://" in host or host.startswith("unix:") else f"http://{host}"


#: Guards OPTIONS while they are loaded, and the two below.
_lock = threading.Lock()
_present: Client | None = None
#: The HOST, TIMEOUT and INITIAL that the present client was made from.
_made_from: tuple[Any, ...] = ()


def _load(opts: Mapping[str, Any] | None) -> bool:
    """Fills OPTIONS; false when that was done before."""
    with _lock:
        if OPTIONS["CONFIGURED"]:
            return False
        OPTIONS.update(_django_config() or opts or {})
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
    config: Mapping[str, Any] | None = getattr(settings, "PYAPNS_CONFIG", None)
    return config


def _client() -> Client:
    """The client for what OPTIONS say now."""
    global _present, _made_from
    _load({})
    with _lock:
        host, seconds, initial = (OPTIONS.get(name) for name in ("HOST", "TIMEOUT", "INITIAL"))
        if not host:
            OPTIONS["CONFIGURED"] = False  # So that the configure that is called for is not ignored.
            raise APNSNotConfigured(
                'nothing says where the daemon is: call configure({"HOST": "http://127.0.0.1:7077/"}) first'
            )
        made_from = (host, seconds, [tuple(entry) for entry in initial or ()])
        if _present is None or made_from != _made_from:
            if _present is not None:
                _present.close()
            _present = Client(url_of_host(host), 20 if seconds is None else seconds, apps_of_initial(initial or ()))
            _made_from = made_from
        return _present


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
    """Raises what the daemon answered as `Fault`."""
    try:
        yield
    except UnknownAppID:
        raise
    except ApnsdError as error:
        if error.code is None:
            raise
        fault = Fault(error.text, code=error.code, request_id=error.request_id, accepted=error.accepted)
        raise fault from error
