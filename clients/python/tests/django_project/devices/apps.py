"""The app that INSTALLED_APPS names."""

from django.apps import AppConfig


class DevicesConfig(AppConfig):
    """Its receivers are there once it is ready."""

    name = "devices"

    def ready(self) -> None:
        """Imports the receivers, which connects them."""
        from . import receivers  # noqa: F401
