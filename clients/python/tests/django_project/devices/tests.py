"""`apnsd.django` from inside a Django project. The test runner of Django runs them, `test_django.py` runs that."""

# ruff: noqa: PT009, PT027 (These methods show what differs; only pytest rewrites `assert`.)

from __future__ import annotations

import io
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from celery import Celery
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import SimpleTestCase, TestCase, override_settings
from world import World, free_port

import apnsd
import apnsd.celery
from apnsd.django import client, collect_feedback, device_expired, registered_since
from apnsd.pyapns import DateTime

from .models import Device
from .receivers import forget_device

HELLO = {"aps": {"alert": "Hello"}}
NOW = datetime.now(timezone.utc).replace(microsecond=0)
HOUR = timedelta(hours=1)
world: World


def setUpModule() -> None:
    global world
    world = World()


def tearDownModule() -> None:
    client().close()
    world.close()


def token(start: str) -> str:
    return start + "a" * (64 - len(start))


def arrived(start: str) -> bool:
    """Whether what was just sent to a token arrives, once."""
    tokens = [entry["token"] for entry in world.arrived()]
    missing = token(start) not in tokens
    return [entry["token"] for entry in world.wait_arrived(len(tokens) + missing)].count(token(start)) == 1


def settings_of(**apps: str) -> dict[str, Any]:
    """The setting APNSD for apps with these certificates."""
    settings = {app_id: {"certificate_file": path, "environment": "sandbox"} for app_id, path in apps.items()}
    return {"URL": world.url, "TIMEOUT": 5, "APPS": settings}


def command(name: str, *arguments: str) -> tuple[str, str, str]:
    """What a command prints, what it complains of, and the words that it fails with."""
    out, err, failure = io.StringIO(), io.StringIO(), ""
    try:
        call_command(name, *arguments, stdout=out, stderr=err, no_color=True)
    except CommandError as error:
        failure = str(error)
    return out.getvalue(), err.getvalue(), failure


class TheClient(SimpleTestCase):
    def test_is_made_from_the_settings_and_shared(self) -> None:
        with override_settings(APNSD=settings_of(shop=world.certificate)):
            client().notify("shop", token("c1"), HELLO)
            self.assertIs(client(), client())
        self.assertTrue(arrived("c1"))

    def test_follows_settings_that_a_test_overrides(self) -> None:
        with override_settings(APNSD=settings_of(shop=world.certificate)):
            first = client()
            with override_settings(APNSD={"URL": world.url}):
                self.assertIsNot(client(), first)

    def test_is_made_from_the_settings_of_pyapns(self) -> None:
        config = {"HOST": world.url.rstrip("/"), "INITIAL": [("old", world.certificate, "sandbox")]}
        with override_settings(PYAPNS_CONFIG=config):
            client().notify("old", token("c2"), HELLO)
        self.assertTrue(arrived("c2"))

    def test_is_refused_where_the_check_finds_errors(self) -> None:
        message = "APNSD has an unknown key HOST; there are URL, TIMEOUT, APPS"
        with override_settings(APNSD={"HOST": world.url}), self.assertRaisesMessage(ImproperlyConfigured, message):
            client()


class Feedback(TestCase):
    def setUp(self) -> None:
        override = override_settings(APNSD=settings_of(shop=world.certificate))
        override.enable()
        self.addCleanup(override.disable)
        client().feedback("shop")

    def dies(self, start: str, registered_at: datetime) -> None:
        """A device that registered at some time is called dead now."""
        Device.objects.create(token=token(start), registered_at=registered_at)
        (result,) = client().send("shop", token(start), HELLO)
        self.assertEqual(result.reason, "Unregistered")

    def test_deletes_dead_devices_and_keeps_those_that_registered_again(self) -> None:
        self.dies("dead01", NOW - HOUR)
        self.dies("dead02", NOW + HOUR)
        self.assertEqual(command("apnsd_feedback"), ("shop: 2 expired\n", "", ""))
        self.assertEqual([device.token for device in Device.objects.all()], [token("dead02")])
        self.assertEqual(command("apnsd_feedback", "shop"), ("shop: 0 expired\n", "", ""))

    def test_tells_the_receiver_everything(self) -> None:
        told: list[dict[str, Any]] = []

        def listen(**named: Any) -> None:
            told.append(named)

        device_expired.connect(listen)
        self.addCleanup(device_expired.disconnect, listen)
        self.dies("dead03", NOW - HOUR)
        collected = collect_feedback("shop")
        ((time, dead),) = collected.devices
        self.assertEqual((dead, collected.failures), (token("dead03"), []))
        self.assertEqual(time.utcoffset(), timedelta(0))
        named = {"sender": apnsd.Client, "app_id": "shop", "token": dead, "timestamp": time, "signal": device_expired}
        self.assertEqual(told, [named])

    def test_a_receiver_that_fails_is_reported_and_does_not_keep_others_from_theirs(self) -> None:
        def refuse(**_: Any) -> None:
            raise ValueError("no")

        device_expired.connect(refuse)
        self.addCleanup(device_expired.disconnect, refuse)
        self.dies("dead04", NOW - HOUR)
        with self.assertLogs("django.dispatch", "ERROR"):
            out, err, failure = command("apnsd_feedback")
        self.assertEqual(out, "shop: 1 expired\n")
        self.assertRegex(err, r"^shop: .*refuse failed for dead04aa…: ValueError: no\n$")
        self.assertEqual(failure, "receivers that failed: 1; client().feedback_after(app_id) tells the devices again")
        self.assertFalse(Device.objects.exists())

    def test_goes_as_the_page_says(self) -> None:
        page = (Path(apnsd.__file__).resolve().parents[2] / "DJANGO.md").read_text(encoding="utf-8")
        _, sending, receiving, ready = (block.split("```", 1)[0] for block in page.split("```python\n")[1:])
        registered = {"registered_at": NOW - HOUR}
        with override_settings(APNSD=settings_of(myapp=world.certificate)):
            client().feedback("myapp")
            exec(sending, {"tokens": [token("c3")]})
            self.assertTrue(arrived("c3"))
            names: dict[str, Any] = {"__package__": "devices", "__name__": "devices.page"}
            device_expired.disconnect(forget_device)
            self.addCleanup(device_expired.connect, forget_device)
            exec(receiving, names)
            exec(ready, names)
            self.assertIsNone(names["DevicesConfig"].ready(None))
            self.addCleanup(device_expired.disconnect, names["forget_device"])
            Device.objects.create(token=token("dead07"), **registered)
            client().send("myapp", token("dead07"), HELLO)
            self.assertEqual(command("apnsd_feedback"), ("myapp: 1 expired\n", "", ""))
        self.assertFalse(Device.objects.exists())

    def test_of_no_app_is_refused(self) -> None:
        with override_settings(APNSD={"URL": world.url}):
            self.assertEqual(command("apnsd_feedback"), ("", "", "name the apps: there are none in the settings"))

    def test_an_app_that_fails_does_not_keep_others_from_theirs(self) -> None:
        out, err, failure = command("apnsd_feedback", "nobody", "shop")
        self.assertEqual(out, "shop: 0 expired\n")
        told = "nobody: The app_id specified has not been provisioned. This client has no settings for `nobody`: "
        self.assertEqual(err, told + "give them as one of its apps, or provision it. It has those of `shop`.\n")
        self.assertEqual(failure, "apps that could not be asked: 1 of 2")

    def test_that_nobody_receives_is_left_with_the_daemon(self) -> None:
        told = "nothing was collected, for nobody receives device_expired: import your receivers in AppConfig.ready()"
        self.dies("dead08", NOW - HOUR)
        device_expired.disconnect(forget_device)
        try:
            self.assertEqual(command("apnsd_feedback"), ("", "", told))
            with self.assertLogs("celery", "ERROR"):
                result = apnsd.celery.collect_feedback.apply(("shop",))
            with self.assertRaisesMessage(RuntimeError, told):
                result.get()
        finally:
            device_expired.connect(forget_device)
        self.assertEqual(command("apnsd_feedback"), ("shop: 1 expired\n", "", ""))
        self.assertFalse(Device.objects.exists())

    def test_of_a_daemon_that_is_down_is_none(self) -> None:
        with override_settings(APNSD={**settings_of(shop=world.certificate), "URL": f"http://127.0.0.1:{free_port()}"}):
            out, err, failure = command("apnsd_feedback")
        self.assertEqual((out, failure), ("", "apps that could not be asked: 1 of 1"))
        self.assertIn("is the daemon running?", err)

    def test_whose_answer_was_lost_comes_again_with_the_id_of_the_call(self) -> None:
        self.dies("dead0a", NOW - HOUR)
        with override_settings(APNSD={**settings_of(shop=world.certificate), "URL": world.proxy_url}):
            client().provision("shop")
            world.proxy.lose_answers(2)  # That of the client's second attempt too.
            _, err, failure = command("apnsd_feedback")
        self.assertEqual(failure, "apps that could not be asked: 1 of 1")
        self.assertEqual(command("apnsd_feedback"), ("shop: 0 expired\n", "", ""))
        again = err.rpartition("its devices come with ")[2].split()
        self.assertEqual(again[:3], ["apnsd_feedback", "shop", "--request-id"])
        self.assertEqual(command(*again), ("shop: 1 expired\n", "", ""))
        self.assertFalse(Device.objects.exists())
        told = "name the app whose answer was lost: --request-id is that of one call"
        self.assertEqual(command("apnsd_feedback", "shop", "other", *again[2:]), ("", "", told))

    def test_of_a_celery_task_sends_the_signal(self) -> None:
        self.dies("dead05", NOW - HOUR)
        (entry,) = apnsd.celery.collect_feedback.apply(("shop",)).get()
        self.assertEqual(entry[1], token("dead05"))
        self.assertFalse(Device.objects.exists())

    def test_of_a_celery_task_may_go_to_a_task_instead_of_receivers(self) -> None:
        collected: list[Any] = []

        def note(devices: list[list[str]]) -> None:
            collected.extend(devices)

        celery = Celery(set_as_current=False)
        celery.conf.task_always_eager = True
        self.dies("dead09", NOW - HOUR)
        device_expired.disconnect(forget_device)
        self.addCleanup(device_expired.connect, forget_device)
        apnsd.celery.collect_feedback.apply(("shop",), link=celery.task(note).s()).get()
        self.assertEqual([dead for _, dead in collected], [token("dead09")])

    def test_of_a_celery_task_fails_when_a_receiver_does(self) -> None:
        def refuse(**_: Any) -> None:
            raise ValueError("no")

        device_expired.connect(refuse)
        self.addCleanup(device_expired.disconnect, refuse)
        self.dies("dead06", NOW - HOUR)
        with self.assertLogs("django.dispatch", "ERROR"), self.assertLogs("celery", "ERROR"):
            result = apnsd.celery.collect_feedback.apply(("shop",))
        self.assertRaisesRegex(RuntimeError, "failures: 1, the first of .*refuse.* for dead06aa…", result.get)
        self.assertFalse(Device.objects.exists())


class Tasks(TestCase):
    def test_use_the_client_of_the_project(self) -> None:
        self.assertIs(apnsd.celery.client_of(Celery()), client())

    def test_use_the_settings_of_celery_where_they_are_django_settings(self) -> None:
        celery = Celery()
        celery.config_from_object("django.conf:settings", namespace="CELERY")
        with override_settings(CELERY_APNSD_URL=world.url):
            self.assertIsNot(apnsd.celery.client_of(celery), client())

    def test_a_broadcast_reads_a_queryset_row_by_row(self) -> None:
        for number in range(3):
            Device.objects.create(token=token(f"e{number}"), registered_at=NOW)
        tokens = Device.objects.order_by("token").values_list("token", flat=True)
        celery = Celery(set_as_current=False)
        celery.conf.task_always_eager = True
        celery.set_default()
        with override_settings(APNSD=settings_of(shop=world.certificate)), self.assertNumQueries(1):
            self.assertEqual(len(apnsd.celery.broadcast("shop", tokens, HELLO, chunk=2)), 2)
        self.assertEqual([arrived("e0"), arrived("e1"), arrived("e2")], [True, True, True])


class Registration(SimpleTestCase):
    def test_since_the_device_was_called_dead_counts(self) -> None:
        dead = datetime(2026, 1, 2, 12, 0, tzinfo=timezone.utc)
        self.assertTrue(registered_since(dead + HOUR, dead))
        self.assertTrue(registered_since(dead, dead))
        self.assertFalse(registered_since(dead - HOUR, dead))
        self.assertFalse(registered_since(None, dead))

    def test_times_without_a_zone_are_in_djangos(self) -> None:
        dead = datetime(2026, 1, 2, 12, 0, tzinfo=timezone.utc)
        self.assertTrue(registered_since(datetime(2026, 1, 2, 6, 30), dead))  # Chicago: UTC-6
        self.assertFalse(registered_since(datetime(2026, 1, 2, 5, 30), dead))


class StoredTimes(TestCase):
    def test_a_time_of_the_old_interface_is_stored_as_what_it_is(self) -> None:
        Device.objects.create(token=token("d1"), registered_at=DateTime.combine(NOW, NOW.timetz()))
        self.assertEqual(Device.objects.get().registered_at, NOW)
        self.assertTrue(Device.objects.filter(registered_at__gt=NOW - HOUR, registered_at__lt=NOW + HOUR).exists())
