"""What the verbs return."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Result:
    """What became of one notification of ``send``."""

    #: The device token in hex.
    token: str
    #: ``accepted``; ``presumed`` (the binary gateway stayed silent); ``rejected``; ``expired``; ``queued`` (no outcome
    #: yet, it stays queued); ``repeated`` (sent before under the same request id, and not again).
    outcome: str
    #: Apple's id of the notification, where it was accepted by the daemon now.
    id: str | None = None
    #: The provider's number for what it answered.
    status: int | None = None
    #: The name of what it answered.
    reason: str | None = None
    #: Since when a dead token is dead, UTC.
    timestamp: datetime | None = None
    #: Of a queued one: whether it was tried already.
    retry: bool = False
    #: Of a queued one: what stands in the way, in words.
    cause: str | None = None


@dataclass(frozen=True)
class Rejection:
    """A notification that will not be delivered."""

    app_id: str
    #: The device token in hex.
    token: str
    #: The name of what the provider, or the daemon, found wrong.
    reason: str
    #: The same in words.
    text: str
    #: When, UTC.
    timestamp: datetime
    #: The daemon's number of the call, and the position in it.
    batch: str
    row: int
    #: The provider's number for the reason, where it has one.
    status: int | None = None


@dataclass(frozen=True)
class Page(Generic[Entry]):
    """Entries behind a cursor, oldest first, and the cursor to ask with next. No entries: that was all, for now."""

    entries: list[Entry]
    cursor: str
