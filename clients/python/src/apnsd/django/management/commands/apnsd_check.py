"""``manage.py apnsd_check``: whether the daemon is there, every app can send, and as the settings say."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apnsd.errors import ApnsdError, InvalidArguments
from apnsd.settings import App

from ...conf import apps, client
from ...credentials import problem


class Command(BaseCommand):
    """Prints a line for each app of the settings, or of the daemon if they have none.

    Exit code 1 if anything stands in the way of notifications.
    """

    help = "Asks the daemon whether every app of the settings can send as these say, and fails if one cannot."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The options."""
        parser.add_argument(
            "--provision", action="store_true", help="provision the apps first, with the certificates of the settings"
        )

    def handle(self, *, provision: bool, **_: Any) -> None:
        """Runs it."""
        try:
            settings = apps()
            refused = dict(self._provision(settings)) if provision else {}
            known = {str(status["app_id"]): status for status in client().apps()}
        except ApnsdError as error:
            raise CommandError(str(error)) from error
        wanted = list(settings or known)
        if not wanted:
            self.stdout.write("The daemon answers. There are no apps, neither in the settings nor there.")
        wrong = 0
        for app_id in wanted:
            troubles = [*refused.get(app_id, []), *_troubles(known.get(app_id))]
            if app_id in settings and not provision:
                troubles += _disagreements(app_id, settings[app_id], known.get(app_id))
            self._print(app_id, known.get(app_id, {}), troubles)
            wrong += bool(troubles)
        if wrong:
            raise CommandError(f"apps that need attention: {wrong} of {len(wanted)}")

    def _provision(self, wanted: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
        for app_id in wanted:
            try:
                client().provision(app_id)
            except ApnsdError as error:
                yield app_id, [f"provision failed: {error}"]

    def _print(self, app_id: str, status: Mapping[str, Any], troubles: list[str]) -> None:
        facts = [str(status[name]) for name in ("environment", "state") if name in status]
        if "expires" in status:
            facts.append(f"certificate until {status['expires']:%Y-%m-%d}")
        self.stdout.write(f"{app_id}: " + ", ".join(facts or ["not provisioned"]))
        for trouble in troubles:
            self.stdout.write(self.style.ERROR(f"  {trouble}"))


def _troubles(status: Mapping[str, Any] | None) -> Iterator[str]:
    """What is wrong with an app, in words."""
    if status is None:
        yield "the daemon does not know it: its first notification provisions it, and so does --provision"
        return
    told = [str(status[name]) for name in ("cause", "renewal") if name in status]
    yield from told
    if not told and "expires" in status and status["expires"] < datetime.now(timezone.utc):
        yield "its certificate has expired: provision a new one"


def _disagreements(app_id: str, app: App, status: Mapping[str, Any] | None) -> Iterator[str]:
    """What provisioning would change, or fail at."""
    if status is not None and status["environment"] != app.environment:
        yield f"the daemon has it for {status['environment']}, the settings for {app.environment}: --provision moves it"
    try:
        certificate = app.provision_arguments(app_id)[1]
    except InvalidArguments as error:
        yield str(error)
        return
    if certificate is not app.certificate and (wrong := problem(certificate)):
        yield f"the certificate file of its settings {wrong}"
