"""Tokens and what goes with each of them, in pieces that fit into one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any, Union

from .errors import InvalidArguments
from .notification import Notification, json_text
from .times import unix_time

#: One token or many: hex or base64 text, or raw bytes.
Tokens = Union[str, bytes, Iterable[Union[str, bytes]]]

_SINGLE = (str, bytes, bytearray, memoryview)


@dataclass(frozen=True)
class Chunk:
    """A piece of a ``notify`` or ``send``."""

    tokens: list[str]
    #: JSON text: one for all, or one for each token.
    notifications: str | list[str]
    options: dict[str, Any]

    def params(self, app_id: str) -> tuple[Any, ...]:
        """The arguments of the daemon's call."""
        return (app_id, self.tokens, self.notifications, self.options)


def chunks(
    tokens: object, notifications: object, options: Mapping[str, object], request_id: str, size: int
) -> Iterator[Chunk]:
    """At most ``size`` tokens each; none at all for no tokens.

    Iterables are read as the chunks are, one element ahead. Raises InvalidArguments for what cannot be sent.
    """
    count, texts = _tokens(tokens)
    columns = {name: _Column(name, given, count) for name, given in options.items() if given is not None}
    payloads = _Column("notifications", notifications, count)
    number = start = 0
    part = list(islice(texts, size))
    while True:
        following = list(islice(texts, 1))
        last = not following
        named = request_id if last and number == 0 else f"{request_id}-{number}"
        bounds = (start, len(part), last)
        chunk = Chunk(
            tokens=part,
            notifications=payloads.take(*bounds),
            options={"request_id": named, **{name: column.take(*bounds) for name, column in columns.items()}},
        )
        if part:
            yield chunk
        if last:
            return
        number, start = number + 1, start + len(part)
        part = following + list(islice(texts, size - 1))


def _tokens(tokens: object) -> tuple[int | None, Iterator[str]]:
    """How many there are, if that is known, and their texts."""
    if isinstance(tokens, _SINGLE):
        tokens = [tokens]
    if not isinstance(tokens, Iterable):
        raise InvalidArguments(f"tokens: text, bytes or an iterable of them is needed, not {type(tokens).__name__}")
    return _length(tokens), (_token(index, token) for index, token in enumerate(tokens))


def _token(index: int, token: object) -> str:
    if isinstance(token, str):
        return token
    if isinstance(token, (bytes, bytearray, memoryview)):
        return token.hex()
    raise InvalidArguments(f"token {index}: text or bytes is needed, not {type(token).__name__}")


def _length(given: Iterable[object]) -> int | None:
    """The length where it costs nothing: that of a database query would run it."""
    return len(given) if isinstance(given, (Sequence, Set)) else None


class _Column:
    """One value for all tokens, or an iterable with one for each."""

    def __init__(self, name: str, given: object, tokens: int | None) -> None:
        self._name = name
        self._convert = _CONVERSIONS.get(name, _as_it_is)
        self._each: Iterator[object] | None = None
        if isinstance(given, (*_SINGLE, Mapping, Notification)) or not isinstance(given, Iterable):
            self._all = self._convert(0, given)
            return
        self._each = iter(given)
        length = _length(given)
        if length is not None and tokens is not None and length != tokens:
            raise self._mismatch(f"{length} for {tokens} tokens")

    def take(self, start: int, count: int, last: bool) -> Any:
        """What goes with the ``count`` tokens from ``start``, of which the last one is perhaps the last of all."""
        if self._each is None:
            return self._all
        part = [self._convert(start + index, item) for index, item in enumerate(islice(self._each, count))]
        if len(part) < count:
            raise self._mismatch(f"they end after {start + len(part)}, before the tokens")
        if last and next(self._each, _END) is not _END:
            raise self._mismatch(f"there are more than the {start + count} tokens")
        return part

    def _mismatch(self, problem: str) -> InvalidArguments:
        return InvalidArguments(f"{self._name}: {problem}: give one for each token, or a single one for all")


_END = object()


def _payload(index: int, notification: object) -> str:
    try:
        return json_text(notification)
    except InvalidArguments as error:
        raise InvalidArguments(f"notification {index}: {error}") from error


def _as_it_is(_: int, value: object) -> object:
    return value


_CONVERSIONS: Mapping[str, Callable[[int, object], object]] = {
    "notifications": _payload,
    "expiration": lambda _, value: unix_time(value),
}
