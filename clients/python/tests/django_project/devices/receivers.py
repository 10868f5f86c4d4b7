"""How devices go when the provider calls them dead."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.dispatch import receiver

from apnsd.django import device_expired, registered_since

from .models import Device


@receiver(device_expired)
def forget_device(*, token: str, timestamp: datetime, **_: Any) -> None:
    """Deletes a dead device, unless it has registered again."""
    for device in Device.objects.filter(token=token):
        if not registered_since(device.registered_at, timestamp):
            device.delete()
