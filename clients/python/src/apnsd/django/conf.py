"""The settings APNSD and PYAPNS_CONFIG: what they say, what is wrong with them, and the client made from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

from ..client import Client
from ..errors import InvalidArguments
from ..pyapns import apps_of_initial, url_of_host
from ..settings import App, read_apps
from ..times import seconds

#: Seconds that a call may take where the settings do not say.
TIMEOUT = 20

#: The client, once there is one. No lock guards it, which a fork could copy while it is held: setdefault is one step.
_clients: dict[str, Client] = {}
_THE_CLIENT = "client"


class Apnsd:
    """The setting ``APNSD``."""

    name = "APNSD"
    keys = ("URL", "TIMEOUT", "APPS")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def unknown_keys(self) -> list[str]:
        """Words about each key that there is not."""
        unknown = (str(key) for key in self._values if key not in self.keys)
        return [f"{self.name} has an unknown key {key}; there are {', '.join(self.keys)}" for key in unknown]

    def url(self) -> str | None:
        """Where the daemon is; without it the client decides."""
        url = self._values.get("URL")
        if url is not None:
            _check_url("URL", url)
        return url

    def timeout(self) -> float:
        """Seconds that a call may take."""
        return float(seconds("TIMEOUT", self._values.get("TIMEOUT", TIMEOUT)))

    def apps(self) -> dict[str, App]:
        """The apps by id."""
        given = self._values.get("APPS", {})
        if not isinstance(given, Mapping):
            raise InvalidArguments(f"APPS: a dict of apps is needed, not {type(given).__name__}")
        apps, wrong = {}, []
        for app_id, app in given.items():
            try:
                apps.update(read_apps({app_id: app}))
            except InvalidArguments as error:
                wrong.append(str(error))
        if wrong:
            raise InvalidArguments("APPS: " + "; ".join(wrong))
        return apps


class PyapnsConfig(Apnsd):
    """The setting ``PYAPNS_CONFIG``, of projects that used pyapns."""

    name = "PYAPNS_CONFIG"
    keys = ("HOST", "TIMEOUT", "INITIAL")

    def url(self) -> str:
        """Where the daemon is."""
        host = self._values.get("HOST")
        if not host:
            raise InvalidArguments("HOST is missing: where is the daemon? http://127.0.0.1:7077/ is its default")
        _check_url("HOST", host)
        return url_of_host(host)

    def apps(self) -> dict[str, App]:
        """The apps by id."""
        initial = self._values.get("INITIAL") or ()
        if not isinstance(initial, (list, tuple)):
            raise InvalidArguments(f"INITIAL: a list is needed, not {type(initial).__name__}")
        return apps_of_initial(initial)


def _check_url(key: str, url: object) -> None:
    if not isinstance(url, str):
        raise InvalidArguments(f"{key}: a string is needed, not {type(url).__name__}")
    try:
        Client(url_of_host(url) if key == "HOST" else url).close()
    except InvalidArguments as error:
        raise InvalidArguments(f"{key}: {error}") from None


def _source() -> Apnsd:
    """The setting that counts. Raises InvalidArguments where it is no dict."""
    for kind in (Apnsd, PyapnsConfig):
        if hasattr(settings, kind.name):
            values = getattr(settings, kind.name)
            if not isinstance(values, Mapping):
                raise InvalidArguments(f"{kind.name}: a dict is needed, not {type(values).__name__}")
            return kind(values)
    return Apnsd({})


def problems(**_: Any) -> list[checks.CheckMessage]:
    """What is wrong with the settings: the system check. It asks no daemon, that is for ``manage.py apnsd_check``."""
    try:
        source = _source()
    except InvalidArguments as error:
        return [checks.Error(str(error), id="apnsd.E001")]
    found: list[checks.CheckMessage] = []
    if type(source) is Apnsd:
        found += [checks.Error(text, id="apnsd.E002") for text in source.unknown_keys()]
        if hasattr(settings, "PYAPNS_CONFIG"):
            text = "APNSD and PYAPNS_CONFIG are both set: PYAPNS_CONFIG counts for the module apnsd.pyapns alone"
            found.append(checks.Warning(text, id="apnsd.W001"))
    else:
        # pyapns did not mind them.
        found += [checks.Warning(text, id="apnsd.W002") for text in source.unknown_keys()]
    for number, read in (("apnsd.E003", source.url), ("apnsd.E004", source.timeout), ("apnsd.E005", source.apps)):
        try:
            read()
        except InvalidArguments as error:
            found.append(checks.Error(f"{source.name}: {error}", id=number))
    return found


def client() -> Client:
    """The client of this process, made from the settings at its first use. Threads and forked processes may share it.

    Raises ImproperlyConfigured where ``manage.py check`` finds errors.
    """
    present = _clients.get(_THE_CLIENT)
    if present is not None:
        return present
    errors = [problem.msg for problem in problems() if problem.is_serious()]
    if errors:
        raise ImproperlyConfigured("; ".join(errors))
    source = _source()
    return _clients.setdefault(_THE_CLIENT, Client(source.url(), source.timeout(), source.apps()))


def apps() -> dict[str, App]:
    """The apps of the settings, by id. Raises InvalidArguments where ``manage.py check`` finds errors in them."""
    return _source().apps()


@receiver(setting_changed)
def _forget_client(*, setting: str, **_: Any) -> None:
    """A test overrides a setting, or its override ends."""
    if setting in (Apnsd.name, PyapnsConfig.name):
        present = _clients.pop(_THE_CLIENT, None)
        if present is not None:
            present.close()
