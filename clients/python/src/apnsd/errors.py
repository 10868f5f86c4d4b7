"""What a call can end with. Everything is an :class:`ApnsdError`."""

from __future__ import annotations


class ApnsdError(Exception):
    """A call that failed. ``str(error)`` is its text, which says what to do.

    The subclasses name the failures that programs tell apart; a fault with another code is of this class itself.
    """

    #: The code of the daemon's fault; ``None`` where the failure is the client's own.
    code: int | None
    #: What went wrong and what to do.
    text: str
    #: The name under which a failed ``notify`` or ``send`` can be repeated without a second effect, and a failed
    #: ``feedback`` without losing what was handed out.
    request_id: str | None
    #: How many tokens of a ``notify`` or ``send`` were accepted before this failure. Positions that the daemon
    #: mentions in the text count from there.
    accepted: int

    def __init__(
        self, text: str = "", *, code: int | None = None, request_id: str | None = None, accepted: int = 0
    ) -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.request_id = request_id
        self.accepted = accepted

    def __str__(self) -> str:
        return self.text


class UnknownAppID(ApnsdError):
    """The daemon does not know the app (404), and the client has no settings to provision it with."""


class InvalidEnvironment(ApnsdError):
    """The daemon's configuration has no such environment (401)."""


class ServerTimeout(ApnsdError):
    """Nothing was accepted, and the same call may succeed later: the app is paused, the disk is full, … (500).

    Also HTTP 429 and 503, without a code: the daemon's user is over its limits.
    """


class InvalidArguments(ApnsdError, ValueError):
    """The call cannot work as it is: refused by the daemon (8002), or by the client or HTTP (413, …; no code)."""


class NotConfigured(ApnsdError):
    """The client has no settings for what it was asked to do, or the daemon refuses its user (HTTP 401 and 403)."""


class ConnectionFailed(ApnsdError, ConnectionError):
    """There was no answer: nobody listens, the connection broke twice, the time was up, or it is not an apnsd.

    Also a ``ConnectionError``, and so an ``OSError``.
    """


_BY_CODE = {404: UnknownAppID, 401: InvalidEnvironment, 500: ServerTimeout, 8002: InvalidArguments}


def error_of_fault(code: int, text: str) -> ApnsdError:
    """The error for a fault of the daemon."""
    return _BY_CODE.get(code, ApnsdError)(text, code=code)
