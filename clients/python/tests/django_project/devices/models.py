"""Devices."""

from __future__ import annotations

from datetime import datetime

from django.db import models


class Device(models.Model):
    """A device that notifications are sent to."""

    token: models.CharField[str, str] = models.CharField(max_length=200, unique=True)
    registered_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
