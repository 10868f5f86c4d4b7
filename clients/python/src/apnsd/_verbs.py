"""What the verbs do, written once for every kind of client and without input or output.

A verb is a generator. It yields what it wants done, an :class:`Exchange` or a :class:`Turn`, is sent the outcome, or
has the error thrown into it, and returns what the caller gets.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar, Union

from ._chunks import chunks
from ._plain import text
from ._xmlrpc import not_apnsd
from .errors import (
    ApnsdError,
    ConnectionFailed,
    InvalidArguments,
    InvalidEnvironment,
    NotConfigured,
    ServerTimeout,
    UnknownAppID,
)
from .results import Page, Rejection, Result
from .settings import App, Apps, read_apps
from .times import seconds

log = logging.getLogger("apnsd")

NOTIFY_TOKENS_MAX = 10_000
SEND_TOKENS_MAX = 1_000
#: So many names of apps can be looked through in an error's text.
APPS_NAMED_MAX = 5
#: The cursor before the first entry of a list.
BEGINNING = "0"

_METHOD = re.compile("[A-Za-z0-9_.:/-]+")

T = TypeVar("T")


@dataclass(frozen=True)
class Exchange:
    """A call of the daemon. Its outcome is the daemon's answer."""

    method: str
    params: tuple[Any, ...]
    #: Seconds that the daemon was asked to wait, on top of the client's own.
    wait: float = 0
    #: Whether it may be made again when the connection breaks.
    repeatable: bool = True
    #: Whether an app that the daemon does not know is what was wanted, when it is made again: the first one did that.
    removes: bool = False


@dataclass(frozen=True)
class Turn:
    """Steps that no two may take at once for the same app. Their outcome is that of the last."""

    app_id: str
    steps: Steps[Any]
    #: Seconds that the daemon may be asked to wait in them.
    wait: float = 0


Steps = Generator[Union[Exchange, Turn], Any, T]


class Verbs:
    """The verbs, and what they have to remember. Safe to share between threads.

    :class:`apnsd.Client` tells what each verb is for; what is given to it is passed on as it is.
    """

    def __init__(self, apps: Apps | None = None) -> None:
        self._apps = read_apps(apps or {})
        # For apps that the daemon was told of: how often.
        self._provisioned: dict[str, int] = {}

    def configure(self, apps: Apps | None) -> Steps[None]:
        given: Mapping[str, App | None] = dict.fromkeys(self._apps) if apps is None else read_apps(apps)
        if not given:
            raise NotConfigured("configure: there are no apps; give some here, or to the client")
        # So that a call meanwhile finds those that are new.
        self._apps.update({app_id: app for app_id, app in given.items() if app and app_id not in self._apps})
        first: ApnsdError | None = None
        for app_id, app in given.items():
            try:
                yield from self._settle(app_id, app)
            except ApnsdError as error:
                first = first or error
        if first:
            raise first

    def provision(self, app_id: str, settings: Mapping[str, Any]) -> Steps[None]:
        app_id = text("app_id", app_id)
        given = any(value is not None for value in settings.values())
        yield from self._settle(app_id, App.from_mapping(app_id, settings) if given else None)

    def notify(
        self, app_id: str, tokens: object, notifications: object, request_id: object, options: Mapping[str, object]
    ) -> Steps[None]:
        yield from self._in_chunks("notify", NOTIFY_TOKENS_MAX, app_id, tokens, notifications, request_id, options)

    def send(
        self,
        app_id: str,
        tokens: object,
        notifications: object,
        request_id: object,
        options: Mapping[str, object],
        timeout: float,
    ) -> Steps[list[Result]]:
        options = {**options, "timeout": seconds("timeout", timeout)}
        answers = yield from self._in_chunks(
            "apnsd.send", SEND_TOKENS_MAX, app_id, tokens, notifications, request_id, options, timeout
        )
        return _read(lambda: [Result(**_known(Result, row)) for rows in answers for row in rows])

    def feedback(self, app_id: str, request_id: object) -> Steps[list[tuple[datetime, str]]]:
        app_id = text("app_id", app_id)
        name = _name(request_id)
        try:
            answer = yield from self._for_app(app_id, Exchange("feedback", (app_id, {"request_id": name})))
        except ApnsdError as error:
            error.request_id = name
            raise
        return _read(lambda: [(_time(when), str(token)) for when, token in answer])

    def feedback_after(self, app_id: str, cursor: str | None) -> Steps[Page[tuple[datetime, str]]]:
        app_id = text("app_id", app_id)
        answer = yield Exchange("apnsd.feedback", (app_id, cursor or BEGINNING))
        return _read(
            lambda: Page([(_time(row["timestamp"]), row["token"]) for row in answer["feedback"]], answer["cursor"]),
        )

    def rejections(self, app_id: str, cursor: str | None) -> Steps[Page[Rejection]]:
        app_id = text("app_id", app_id)
        answer = yield Exchange("apnsd.rejections", (app_id, cursor or BEGINNING))
        return _read(
            lambda: Page([Rejection(**_known(Rejection, row)) for row in answer["rejections"]], answer["cursor"]),
        )

    def apps(self) -> Steps[list[dict[str, Any]]]:
        answer = yield Exchange("apnsd.apps", ())
        return _read(lambda: [_struct(row) for row in _list(answer)])

    def status(self, app_id: str) -> Steps[dict[str, Any]]:
        app_id = text("app_id", app_id)
        answer = yield Exchange("apnsd.status", (app_id,))
        return _read(lambda: _struct(answer))

    def call(self, method: str, params: tuple[Any, ...]) -> Steps[Any]:
        name = text("method", method)
        if not _METHOD.fullmatch(name):
            raise InvalidArguments(f"method: {name!r} is no name of a method")
        # Only the caller knows what a second time would do.
        return (yield Exchange(name, params, repeatable=False))

    def deprovision(self, app_id: str) -> Steps[None]:
        app_id = text("app_id", app_id)
        yield self._turn(app_id, self._deprovision(app_id))

    def _deprovision(self, app_id: str) -> Steps[None]:
        try:
            yield Exchange("apnsd.deprovision", (app_id,), removes=True)
        except ApnsdError as error:
            if error.code is not None:
                self._forget(app_id)
            raise
        self._forget(app_id)

    def _forget(self, app_id: str) -> None:
        self._apps.pop(app_id, None)
        self._provisioned.pop(app_id, None)

    def _in_chunks(
        self,
        method: str,
        size: int,
        app_id: str,
        tokens: object,
        notifications: object,
        request_id: object,
        options: Mapping[str, object],
        wait: float = 0,
    ) -> Steps[list[Any]]:
        """The daemon's answers, one for each chunk."""
        app_id = text("app_id", app_id)
        name = _name(request_id)
        answers: list[Any] = []
        accepted = 0
        try:
            for chunk in chunks(tokens, notifications, options, name, size):
                call = Exchange(method, chunk.params(app_id), wait)
                answers.append((yield from self._for_app(app_id, call)))
                accepted += len(chunk.tokens)
        except ApnsdError as error:
            if error.request_id is None:  # Else it is that of another call, which an iterable of the caller's made.
                error.request_id, error.accepted = name, accepted
            raise
        return answers

    def _for_app(self, app_id: str, call: Exchange) -> Steps[Any]:
        """A call that provisions its app before the first use, and again when the daemon does not know it."""
        failure = None
        if app_id not in self._provisioned and app_id in self._apps:
            failure = yield self._turn(app_id, self._first_use(app_id))
            if failure:
                # Not before its turn is over: who hears of it may make a call.
                log.warning("app %s could not be provisioned before its first use: %s", app_id, failure)
        seen = self._provisioned.get(app_id)
        try:
            return (yield call)
        except UnknownAppID as error:
            if failure:
                raise failure from None
            if app_id not in self._apps:
                raise self._without_settings(app_id, error) from None
        if (yield self._turn(app_id, self._again(app_id, seen))):
            log.info("app %s was not known to the daemon and was provisioned again", app_id)
        return (yield call)

    def _turn(self, app_id: str, steps: Steps[Any]) -> Turn:
        app = self._apps.get(app_id)
        return Turn(app_id, steps, app.timeout if app else 0)

    def _without_settings(self, app_id: str, error: UnknownAppID) -> UnknownAppID:
        """The daemon's error, and what is to be done about it."""
        words = f"{error} This client has no settings for `{app_id}`: give them as one of its apps, or provision it."
        others = ", ".join(f"`{other}`" for other in list(self._apps))
        if 0 < len(self._apps) <= APPS_NAMED_MAX:
            words += f" It has those of {others}."
        return UnknownAppID(words, code=error.code)

    def _first_use(self, app_id: str) -> Steps[ApnsdError | None]:
        """Provisions the app unless another did meanwhile. Returns why that failed."""
        app = self._apps.get(app_id)
        if app_id in self._provisioned or app is None:
            return None
        try:
            yield from self._provision(app_id, app)
        except ApnsdError as error:
            is_refusal_for_now = isinstance(error, ServerTimeout) and error.code is None
            if is_refusal_for_now or isinstance(error, (ConnectionFailed, NotConfigured)):
                # The call itself would fare no better, and its caller would wait twice.
                raise
            self._provisioned.setdefault(app_id, 0)
            return error
        return None

    def _again(self, app_id: str, seen: int | None) -> Steps[bool]:
        """Provisions an app that the daemon does not know, unless another did since it was `seen`."""
        app = self._apps.get(app_id)
        if app is None or self._provisioned.get(app_id) != seen:
            return False
        yield from self._provision(app_id, app)
        return True

    def _settle(self, app_id: str, given: App | None) -> Steps[None]:
        """Adopts settings when it is their turn. If that does not come in time they are kept all the same."""
        try:
            yield self._turn(app_id, self._adopt(app_id, given))
        except ConnectionFailed:
            self._apps.update({app_id: given} if given else {})
            raise

    def _adopt(self, app_id: str, given: App | None) -> Steps[None]:
        """Provisions an app with settings that are kept then; without any, with those that there are."""
        before = self._apps.get(app_id)
        app = given or before
        if app is None:
            raise NotConfigured(f"provision: there are no settings for {app_id}; give certificate and environment")
        self._apps[app_id] = app
        try:
            yield from self._provision(app_id, app)
        except (InvalidArguments, InvalidEnvironment):
            # The daemon still works with the earlier ones. Without any, these tell later calls the reason.
            self._apps[app_id] = before or app
            raise

    def _provision(self, app_id: str, app: App) -> Steps[None]:
        yield Exchange("provision", app.provision_arguments(app_id), app.timeout)
        self._provisioned[app_id] = self._provisioned.get(app_id, 0) + 1


def _name(request_id: object) -> str:
    """The name of a call: the caller's, or a new one."""
    if request_id is None:
        return uuid.uuid4().hex
    return str(request_id) if isinstance(request_id, uuid.UUID) else text("request_id", request_id)


def _read(read: Callable[[], T]) -> T:
    """What an answer says. Raises ConnectionFailed where the daemon would not have said that."""
    try:
        return read()
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise not_apnsd("the URL", error) from error


def _list(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    raise TypeError(f"{type(value).__name__} is not a list")


def _struct(value: object) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise TypeError(f"{type(value).__name__} is not a struct")


def _known(kind: type[Result] | type[Rejection], row: Mapping[str, Any]) -> dict[str, Any]:
    """The members that this version knows; a later daemon may tell more."""
    known = {member.name for member in fields(kind)}
    return {name: value for name, value in row.items() if name in known}


def _time(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    raise TypeError(f"{type(value).__name__} is not a time")
