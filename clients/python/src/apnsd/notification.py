"""Notifications, and the JSON text that they are passed as."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Union

from .errors import InvalidArguments


@dataclass(frozen=True)
class Notification:
    """A notification in the fields that most need. For all others, pass the whole payload as a dict instead.

    What is ``None`` or ``False`` is left out.
    """

    #: The text to show, or the dict that Apple documents for it (``title``, ``body``, ``loc-key``, …).
    alert: str | Mapping[str, Any] | None = None
    #: The number on the app's icon; 0 removes it.
    badge: int | None = None
    #: The name of a sound, or the dict of a critical one.
    sound: str | Mapping[str, Any] | None = None
    #: Which of the app's sets of actions to offer.
    category: str | None = None
    #: Which notifications belong together.
    thread_id: str | None = None
    #: Whether to wake the app in the background.
    content_available: bool = False
    #: Whether the app's extension may change the notification.
    mutable_content: bool = False
    #: The app's own data, beside ``aps``.
    custom: Mapping[str, Any] = field(default_factory=dict)

    def payload(self) -> dict[str, Any]:
        """The payload that Apple delivers. Raises InvalidArguments where ``custom`` has ``aps``."""
        if "aps" in self.custom:
            raise InvalidArguments("custom cannot hold `aps`: pass the whole payload as a dict instead")
        aps = {
            "alert": self.alert,
            "badge": self.badge,
            "sound": self.sound,
            "category": self.category,
            "thread-id": self.thread_id,
            "content-available": 1 if self.content_available else None,
            "mutable-content": 1 if self.mutable_content else None,
        }
        return {"aps": {name: value for name, value in aps.items() if value is not None}, **self.custom}


#: What stands for one notification: a dict is the whole payload, a string is JSON text.
AnyNotification = Union[Notification, Mapping[str, Any], str]

# XML cannot carry these. In JSON they can only stand in strings, where an escape means the same.
_NOT_IN_XML = re.compile("[\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def json_text(notification: object) -> str:
    """A notification as the text of a JSON object. Raises InvalidArguments for what is none."""
    try:
        if isinstance(notification, str):
            if not notification.lstrip().startswith("{"):
                raise InvalidArguments(
                    'the text of a JSON object is needed; for a text to show write apnsd.Notification("Hello")'
                )
            json.loads(notification, parse_constant=_refuse_constant)
            return _for_xml(notification)
        if isinstance(notification, Notification):
            notification = notification.payload()
        if isinstance(notification, Mapping):
            return _for_xml(
                json.dumps(notification, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            )
    except InvalidArguments:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArguments(f"not JSON: {error}") from error
    kind = type(notification).__name__
    raise InvalidArguments(f"a Notification, a dict or the text of a JSON object is needed, not {kind}")


def _for_xml(text: str) -> str:
    if surrogate := _SURROGATE.search(text):
        raise InvalidArguments(f"not JSON: half a character, U+{ord(surrogate[0]):04X}")
    return _NOT_IN_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")
