"""Times, as callers give them."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import cast

from .errors import InvalidArguments

_INT_MAX = 2**31 - 1
#: Eleven days. Two of these are what a socket can wait for.
SECONDS_MAX = 1_000_000


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
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not cast("float", value) > 0:
        raise InvalidArguments(f"{name}: a number of seconds more than 0 is needed, not {value!r}")
    if cast("float", value) > SECONDS_MAX:
        raise InvalidArguments(f"{name}: at most {SECONDS_MAX} seconds are possible, not {value!r}")
    return float(value) if isinstance(value, float) else int(cast("int", value))
