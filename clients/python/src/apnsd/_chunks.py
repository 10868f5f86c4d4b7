"""Tokens and what goes with each of them, in pieces that fit into one call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Union, cast

from .errors import InvalidArguments
from .notification import Notification, json_text
from .times import unix_time

#: One token or many: hex or base64 text, or raw bytes.
Token = Union[str, bytes, bytearray, memoryview]
Tokens = Union[Token, Iterable[Token]]

#: Bytes of XML that a call may have: 16 MiB, as the daemon takes by default, less what stands around all this.
WEIGHT_MAX = 16 * 1024 * 1024 - 64 * 1024
# What XML-RPC has around a text.
_ELEMENT = len("<value><string></string></value>\n")
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2})+")

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
    """At most ``size`` tokens each, and no more than one call can carry; none at all for no tokens.

    Iterables are read as the chunks are, one element ahead. Raises InvalidArguments for what cannot be sent.
    """
    count, texts = _tokens(tokens)
    columns = [_Column(name, given, count) for name, given in options.items() if given is not None]
    columns.append(_Column("notifications", notifications, count))
    part = _Part(request_id, columns, 0)
    read = 0
    for token in texts:
        if len(part.tokens) == size:
            yield part.chunk()
            part = _Part(request_id, columns, part.number + 1)
        row = [column.next(read) for column in columns]
        weight = _weight(token) + sum(_weight(value) for value in row)
        if part.tokens and part.weight + weight > WEIGHT_MAX:
            yield part.chunk()
            part = _Part(request_id, columns, part.number + 1)
        part.add(token, row, weight)
        read += 1
    for column in columns:
        column.end(read)
    if part.tokens:
        yield part.chunk()


class _Part:
    """A chunk in the making."""

    def __init__(self, request_id: str, columns: Sequence[_Column], number: int) -> None:
        self.number = number
        self.tokens: list[str] = []
        self.weight = sum(_weight(column.all) for column in columns)
        self._request_id = f"{request_id}-{number}" if number else request_id
        self._columns = columns
        self._rows: list[list[Any]] = []

    def add(self, token: str, row: list[Any], weight: int) -> None:
        """A token, and for each column what goes with it."""
        self.tokens.append(token)
        self._rows.append(row)
        self.weight += weight

    def chunk(self) -> Chunk:
        """What was added."""
        values = {
            column.name: [row[place] for row in self._rows] if column.is_for_each else column.all
            for place, column in enumerate(self._columns)
        }
        return Chunk(self.tokens, values.pop("notifications"), {"request_id": self._request_id, **values})


def _weight(value: object) -> int:
    """About how many bytes of XML a value is."""
    if isinstance(value, str):
        escapes = 4 * value.count("&") + 3 * (value.count("<") + value.count(">")) + 4 * value.count("\r")
        return _ELEMENT + len(value.encode("utf-8", "surrogatepass")) + escapes
    return 0 if value is None else 2 * _ELEMENT


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
        data = bytes(token)
        # As it is read from a file, or from a column of bytes.
        return data.decode("ascii") if _HEX.fullmatch(data) else data.hex()
    raise InvalidArguments(f"token {index}: text or bytes is needed, not {type(token).__name__}")


def _length(given: Iterable[object]) -> int | None:
    """The length where it costs nothing: that of a database query would run it."""
    return len(given) if isinstance(given, (Sequence, Set)) else None


class _Column:
    """One value for all tokens, or an iterable with one for each."""

    def __init__(self, name: str, given: object, tokens: int | None) -> None:
        self.name = name
        self.is_for_each = not isinstance(given, (*_SINGLE, Mapping, Notification)) and isinstance(given, Iterable)
        #: The one for all.
        self.all: Any = None
        self._convert = _CONVERSIONS.get(name, _as_it_is)
        if not self.is_for_each:
            self.all = self._convert(0, given)
            return
        each = cast("Iterable[object]", given)
        self._each = iter(each)
        length = _length(each)
        if length is not None and tokens is not None and length != tokens:
            raise self._mismatch(f"{length} for {tokens} tokens")

    def next(self, index: int) -> Any:
        """What goes with the next token, if it is not what goes with all."""
        if not self.is_for_each:
            return None
        value = next(self._each, _END)
        if value is _END:
            raise self._mismatch(f"they end after {index}, before the tokens")
        return self._convert(index, value)

    def end(self, tokens: int) -> None:
        """There are no more tokens."""
        if self.is_for_each and next(self._each, _END) is not _END:
            raise self._mismatch(f"there are more than the {tokens} tokens")

    def _mismatch(self, problem: str) -> InvalidArguments:
        return InvalidArguments(f"{self.name}: {problem}: give one for each token, or a single one for all")


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
