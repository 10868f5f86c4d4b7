"""Times, as callers give them."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

from .errors import InvalidArguments

_INT_MAX = 2**31 - 1


def unix_time(expiration: object) -> int | datetime:
    """Unix seconds, from those, an aware datetime, or a timedelta from now.

    XML-RPC's int ends in 2038: what is later becomes a datetime, which counts as UTC.
    """
    if isinstance(expiration, timedelta):
        seconds = int(time.time() + expiration.total_seconds())
    elif isinstance(expiration, datetime):
        if expiration.tzinfo is None:
            raise InvalidArguments("expiration: a datetime needs a time zone, such as datetime.timezone.utc")
        seconds = int(expiration.timestamp())
    elif isinstance(expiration, int):
        seconds = expiration
    else:
        kind = type(expiration).__name__
        raise InvalidArguments(f"expiration: Unix seconds, a datetime or a timedelta is needed, not {kind}")
    if seconds <= _INT_MAX:
        return seconds
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidArguments(f"expiration: {seconds} is too far in the future") from error


def seconds(name: str, value: object) -> float:
    """A duration in seconds, more than none. Raises InvalidArguments, naming it, for anything else."""
    if isinstance(value, (int, float)) and value > 0:
        return value
    raise InvalidArguments(f"{name}: a number of seconds more than 0 is needed, not {value!r}")
