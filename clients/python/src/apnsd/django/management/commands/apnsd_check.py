"""``manage.py apnsd_check``: whether the daemon is there and every app can send."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apnsd.errors import ApnsdError

from ...conf import app_ids, client


class Command(BaseCommand):
    """Prints a line for each app of the settings, or of the daemon if they have none.

    Exit code 1 if anything stands in the way of notifications.
    """

    help = "Asks the daemon whether every app of the settings can send, and fails if one cannot."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The options."""
        parser.add_argument(
            "--provision", action="store_true", help="provision the apps first, with the certificates of the settings"
        )

    def handle(self, *, provision: bool, **_: Any) -> None:
        """Runs it."""
        try:
            refused = dict(self._provision(app_ids())) if provision else {}
            known = {str(status["app_id"]): status for status in client().apps()}
        except ApnsdError as error:
            raise CommandError(str(error)) from error
        wanted = app_ids() or list(known)
        if not wanted:
            self.stdout.write("The daemon answers. There are no apps, neither in the settings nor there.")
        wrong = 0
        for app_id in wanted:
            troubles = [*refused.get(app_id, []), *_troubles(known.get(app_id))]
            self._print(app_id, known.get(app_id, {}), troubles)
            wrong += bool(troubles)
        if wrong:
            raise CommandError(f"apps that need attention: {wrong} of {len(wanted)}")

    def _provision(self, wanted: list[str]) -> Iterator[tuple[str, list[str]]]:
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
