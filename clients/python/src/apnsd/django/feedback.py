"""What becomes of devices that the provider calls dead: a signal for each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.dispatch import Signal
from django.utils import timezone

from ..client import Client
from .conf import client

#: Sent for each device that the provider called dead, with `app_id`, `token` (hex) and `timestamp` (aware: since when).
#: The sender is the class `apnsd.Client`.
device_expired = Signal()

#: Why nothing is collected where nobody would hear of it: the daemon hands each device out once.
NO_RECEIVERS = "nothing was collected, for nobody receives device_expired: import your receivers in AppConfig.ready()"


@dataclass(frozen=True)
class Collected:
    """What one call of `collect_feedback` came upon."""

    #: The time since when a device is known to be dead, and its token in hex.
    devices: list[tuple[datetime, str]]
    #: Receivers of the signal that raised: the receiver, the token, the error.
    failures: list[tuple[Any, str, Exception]]


def has_receivers() -> bool:
    """Whether anybody hears of a dead device."""
    return bool(device_expired.has_listeners(Client))


def collect_feedback(app_id: str, *, request_id: str | None = None) -> Collected:
    """Asks for the devices that died since the last time, and sends `device_expired` for each.

    A receiver that raises does not keep the others from theirs. The daemon hands each device out once; what a receiver
    missed, ``client().feedback_after(app_id)`` tells again. After a ConnectionFailed, a call with the ``request_id`` of
    the error is given the devices whose answer was lost.
    """
    devices = client().feedback(app_id, request_id=request_id)
    failures = []
    for timestamp, token in devices:
        answers = device_expired.send_robust(sender=Client, app_id=app_id, token=token, timestamp=timestamp)
        failures += [(receiver, token, error) for receiver, error in answers if isinstance(error, Exception)]
    return Collected(devices, failures)


def registered_since(registered_at: datetime | None, timestamp: datetime) -> bool:
    """Whether a device registered (again) at or after the time at which the provider called it dead: then keep it.

    Naive times are in Django's current time zone. None (it is not known when) is no registration.
    """
    if registered_at is None:
        return False
    return _aware(registered_at) >= _aware(timestamp)


def _aware(time: datetime) -> datetime:
    return timezone.make_aware(time) if timezone.is_naive(time) else time
