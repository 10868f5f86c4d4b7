"""What callers give, as the plain values that can be written down."""

from __future__ import annotations

import math
import xmlrpc.client
from collections.abc import Mapping
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from .errors import InvalidArguments

_INT_MAX = 2**31 - 1


def text(name: str, value: object) -> str:
    """Text, without what a subclass made of it. Raises InvalidArguments, naming it, for anything else."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Enum):
        return text(name, value.value)
    raise InvalidArguments(f"{name}: text is needed, not {type(value).__name__}")


def plain(name: str, value: Any) -> Any:
    """A value in the types that XML-RPC has. Raises InvalidArguments, naming it, where it has none."""
    if value is None or isinstance(value, (bool, xmlrpc.client.DateTime, xmlrpc.client.Binary)):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Enum) and not isinstance(value, (int, float)):
        return plain(name, value.value)
    if isinstance(value, (int, float)):
        return _number(name, value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, datetime):
        time = value.astimezone(timezone.utc) if value.tzinfo else value
        return datetime(time.year, time.month, time.day, time.hour, time.minute, time.second)
    if isinstance(value, (list, tuple)):
        return [item if type(item) is str else plain(f"{name}[{index}]", item) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {text(f"a name in {name}", key): plain(str(key), item) for key, item in value.items()}
    raise InvalidArguments(f"{name}: a value of type {type(value).__name__} cannot be sent")


def _number(name: str, value: float) -> float:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidArguments(f"{name}: {value} cannot be sent")
        return float(value)
    number = int(value)
    if not -_INT_MAX - 1 <= number <= _INT_MAX:
        raise InvalidArguments(f"{name}: XML-RPC has no number as large as this")
    return number
