"""The app that INSTALLED_APPS names."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

from .conf import problems


class ApnsdConfig(AppConfig):
    """Brings the system check, the management commands and the signal. It has no models."""

    name = "apnsd.django"
    label = "apnsd"
    verbose_name = "apnsd"

    def ready(self) -> None:
        """Registers the system check."""
        checks.register(problems)
