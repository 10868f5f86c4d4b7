"""``manage.py apnsd_feedback``: the signal ``device_expired`` for every device that died since the last time."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apnsd.errors import ApnsdError, ConnectionFailed

from ...conf import apps as apps_of_settings
from ...feedback import NO_RECEIVERS, collect_feedback, has_receivers


class Command(BaseCommand):
    """Prints how many devices there were of each app; exit code 1 if an app or a receiver of the signal failed.

    Where the signal has no receivers nothing is collected: the daemon hands each device out once.
    """

    help = "Collects the devices that the provider called dead, and sends the signal device_expired for each."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The apps."""
        parser.add_argument("apps", nargs="*", metavar="app", help="which apps (default: all of the settings)")
        parser.add_argument(
            "--request-id", help="that of a call whose answer was lost: it gives the same devices again"
        )

    def handle(self, *, apps: list[str], request_id: str | None, **_: Any) -> None:
        """Runs it."""
        wanted = apps or list(apps_of_settings())
        if not wanted:
            raise CommandError("name the apps: there are none in the settings")
        if request_id and len(wanted) > 1:
            raise CommandError("name the app whose answer was lost: --request-id is that of one call")
        if not has_receivers():
            raise CommandError(NO_RECEIVERS)
        failed, failures = 0, 0
        for app_id in wanted:
            try:
                collected = collect_feedback(app_id, request_id=request_id)
            except ApnsdError as error:
                failed += 1
                self._complain(app_id, error)
                continue
            self.stdout.write(f"{app_id}: {len(collected.devices)} expired")
            for receiver, token, failure in collected.failures:
                failures += 1
                name = getattr(receiver, "__qualname__", repr(receiver))
                self.stderr.write(f"{app_id}: {name} failed for {token[:8]}…: {type(failure).__name__}: {failure}")
        told = []
        if failed:
            told.append(f"apps that could not be asked: {failed} of {len(wanted)}")
        if failures:
            told.append(f"receivers that failed: {failures}; client().feedback_after(app_id) tells the devices again")
        if told:
            raise CommandError("; ".join(told))

    def _complain(self, app_id: str, error: ApnsdError) -> None:
        self.stderr.write(f"{app_id}: {error}")
        if isinstance(error, ConnectionFailed) and error.request_id:
            again = f"apnsd_feedback {app_id} --request-id {error.request_id}"
            self.stderr.write(f"{app_id}: if an answer was lost, its devices come with {again}")
