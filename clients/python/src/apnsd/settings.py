"""What a client knows of an app: the settings that it provisions it with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Union

from ._plain import text
from .errors import InvalidArguments
from .times import seconds, unix_time

_OPTIONS = ("topic", "key_id", "team_id", "passphrase", "connections", "force", "priority", "collapse_id", "push_type")

_WORDS: Mapping[type, str] = {
    str: "text",
    bytes: "bytes",
    bytearray: "a bytearray",
    os.PathLike: "a path",
    int: "a whole number",
    bool: "True or False",
}
_KINDS: Mapping[str, tuple[type, ...]] = {
    "certificate": (str, bytes, bytearray, os.PathLike),
    "certificate_file": (str, os.PathLike),
    "connections": (int,),
    "force": (bool,),
    "priority": (int,),
    **dict.fromkeys(
        ("environment", "topic", "key_id", "team_id", "passphrase", "collapse_id", "push_type"),
        (str,),
    ),
}


@dataclass(frozen=True)
class App:
    """The settings of an app. One of ``certificate`` and ``certificate_file`` is needed, and ``environment``.

    Raises InvalidArguments where these are missing.
    """

    #: Passed to the daemon as it is: PEM or ``.p8`` text, base64, or a path on the daemon's machine; or the bytes of a
    #: file. A ``pathlib.Path`` is a file on this machine, as ``certificate_file``.
    certificate: str | bytes | bytearray | os.PathLike[str] | None = field(default=None, repr=False)
    #: A file on this machine (PEM, ``.p8``, ``.p12``), read each time the app is provisioned.
    certificate_file: str | os.PathLike[str] | None = None
    #: ``production``, ``sandbox``, or another that the daemon's configuration names.
    environment: str = ""
    #: Seconds for connection attempts of the daemon.
    timeout: float = 15
    #: The bundle id; needed with a ``.p8`` key.
    topic: str | None = None
    #: The id of a ``.p8`` key.
    key_id: str | None = None
    #: The team that a ``.p8`` key belongs to.
    team_id: str | None = None
    #: What opens the certificate's private key.
    passphrase: str | None = field(default=None, repr=False)
    #: How many connections the daemon keeps for the app.
    connections: int | None = None
    #: Whether to replace a certificate that is valid for longer.
    force: bool | None = None
    #: The default for the app's notifications, as the others below: when Apple stops trying to deliver.
    expiration: int | datetime | timedelta | None = None
    #: 10, 5 or 1.
    priority: int | None = None
    #: Notifications with the same one replace each other on the device.
    collapse_id: str | None = None
    #: ``alert``, ``background``, …
    push_type: str | None = None

    def __post_init__(self) -> None:
        if self.certificate is not None and self.certificate_file is not None:
            raise InvalidArguments("either `certificate` or `certificate_file`, not both")
        if self.certificate is None and self.certificate_file is None:
            raise InvalidArguments("one of `certificate` and `certificate_file` is needed")
        if not self.environment:
            raise InvalidArguments("`environment` is needed: production, sandbox, or one that the daemon knows")
        seconds("timeout", self.timeout)
        for name, kinds in _KINDS.items():
            value = getattr(self, name)
            if isinstance(value, Enum):
                value = value.value
            is_odd = isinstance(value, bool) and bool not in kinds
            if value is not None and (is_odd or not isinstance(value, kinds)):
                needed = " or ".join(_WORDS[kind] for kind in kinds)
                raise InvalidArguments(f"{name}: {needed} is needed, not {type(value).__name__}")
        if self.expiration is not None:
            unix_time(self.expiration)

    @classmethod
    def from_mapping(cls, name: str, mapping: Mapping[str, Any]) -> App:
        """The settings of the app called ``name`` from a dict; ``None`` is as good as nothing.

        Raises InvalidArguments, naming unknown settings.
        """
        if not isinstance(mapping, Mapping):
            raise InvalidArguments(f"app {name}: a dict of settings is needed, not {type(mapping).__name__}")
        known = [setting.name for setting in fields(cls)]
        unknown = ", ".join(str(key) for key in mapping if key not in known)
        if unknown:
            raise InvalidArguments(f"app {name}: unknown settings {unknown}; there are {', '.join(known)}")
        try:
            return cls(**{str(setting): value for setting, value in mapping.items() if value is not None})
        except InvalidArguments as error:
            raise InvalidArguments(f"app {name}: {error}") from None

    def provision_arguments(self, app_id: str) -> tuple[Any, ...]:
        """The arguments of the daemon's ``provision``. Raises InvalidArguments where a file cannot be read."""
        options = {name: getattr(self, name) for name in _OPTIONS}
        if self.expiration is not None:
            options["expiration"] = unix_time(self.expiration)
        given = {name: value for name, value in options.items() if value is not None}
        return (app_id, self._credentials(app_id), self.environment, self.timeout, given)

    def _credentials(self, app_id: str) -> str | bytes | bytearray:
        if isinstance(self.certificate, (str, bytes, bytearray)):
            return self.certificate
        path = self.certificate_file if self.certificate is None else self.certificate
        assert path is not None  # __post_init__
        try:
            with open(path, "rb") as file:
                return file.read()
        except (OSError, ValueError) as error:  # ValueError: no file can have such a name.
            raise InvalidArguments(f"app {app_id}: the certificate file cannot be read: {error}") from error


#: Settings as an application may write them down.
Apps = Mapping[str, Union[App, Mapping[str, Any]]]


def read_apps(apps: Apps) -> dict[str, App]:
    """Settings by app id. Raises InvalidArguments for what cannot work."""
    if not isinstance(apps, Mapping):
        raise InvalidArguments(f"apps: a dict with settings by app id is needed, not {type(apps).__name__}")
    return {
        text("the id of an app", app_id): given if isinstance(given, App) else App.from_mapping(app_id, given)
        for app_id, given in apps.items()
    }
