"""apnsd in Django: ``"apnsd.django"`` in INSTALLED_APPS, and where the daemon is in ``APNSD``; see DJANGO.md."""

from __future__ import annotations

try:
    import django  # noqa: F401
except ImportError as error:
    raise ImportError("apnsd.django needs Django: pip install django") from error

from .conf import client
from .feedback import Collected, collect_feedback, device_expired, registered_since

__all__ = ["Collected", "client", "collect_feedback", "device_expired", "registered_since"]
