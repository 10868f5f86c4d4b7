"""Push notifications through apnsd, the push daemon.

    client = apnsd.Client(apps={"myapp": {"certificate_file": "push.pem", "environment": "production"}})
    client.notify("myapp", token, apnsd.Notification("Hello"))

``apnsd.aio`` has the same for asyncio.
"""

from ._version import __version__
from .client import Client
from .errors import (
    ApnsdError,
    ConnectionFailed,
    InvalidArguments,
    InvalidEnvironment,
    NotConfigured,
    ServerTimeout,
    UnknownAppID,
    error_of_fault,
)
from .notification import Notification
from .results import Page, Rejection, Result
from .settings import App

__all__ = [
    "ApnsdError",
    "App",
    "Client",
    "ConnectionFailed",
    "InvalidArguments",
    "InvalidEnvironment",
    "NotConfigured",
    "Notification",
    "Page",
    "Rejection",
    "Result",
    "ServerTimeout",
    "UnknownAppID",
    "__version__",
    "error_of_fault",
]
