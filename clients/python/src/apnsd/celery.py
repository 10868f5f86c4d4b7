"""Celery tasks that send notifications and collect feedback; see CELERY.md.

The client is made from the Celery configuration: ``apnsd_url``, ``apnsd_timeout``, ``apnsd_apps``, each as
`apnsd.Client` takes it. Where none of them is set and `apnsd.django` is installed, it is that of `apnsd.django`.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import timezone
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

try:
    from celery import Celery, Task, shared_task
except ImportError as error:
    raise ImportError("apnsd.celery needs Celery: pip install celery") from error

from .client import Client
from .errors import ConnectionFailed, InvalidArguments, ServerTimeout
from .notification import Notification

__all__ = ["broadcast", "client_of", "collect_feedback", "notify"]

#: The broker keeps a task until it is done, and hands it out again when the process that does it dies. That does no
#: harm: the task's id is the name of its call.
KEPT: dict[str, Any] = {"acks_late": True, "reject_on_worker_lost": True}
#: When nothing was accepted, or it is not known: eight more attempts, after up to 1, 2, 4, … 120 seconds. The daemon
#: remembers the task's id for 15 minutes: longer than that takes, where a worker is free for each attempt.
RETRYING: dict[str, Any] = {
    **KEPT,
    "autoretry_for": (ServerTimeout, ConnectionFailed),
    "retry_backoff": True,
    "retry_backoff_max": 120,
    "retry_jitter": True,
    "max_retries": 8,
}

#: No lock guards it, which a fork could copy while it is held: setdefault is one step.
_clients: WeakKeyDictionary[Celery, Client] = WeakKeyDictionary()


@shared_task(bind=True, name="apnsd.notify", **RETRYING)
def notify(self: Task[..., None], app_id: str, tokens: str | list[str], notification: Any, **options: Any) -> None:
    """`Client.notify` in a worker, again while the daemon cannot be reached or cannot accept.

    Arguments and options are those of `Client.notify`, as far as JSON can say them: a notification is the payload as a
    dict, or a list of one for each token. The call's `request_id` is the task's id, so that no attempt sends twice.
    """
    options["request_id"] = options.get("request_id") or self.request.id
    client_of(self.app).notify(app_id, tokens, notification, **options)


@shared_task(bind=True, name="apnsd.broadcast", **KEPT)
def broadcast(
    self: Task[..., list[str]],
    app_id: str,
    recipients: Iterable[str],
    notification: Mapping[str, Any] | Notification,
    chunk: int = 1000,
    **options: Any,
) -> list[str]:
    """Enqueues one `notify` for each `chunk` of the recipients and returns the ids of these tasks.

    Called as a function it takes any iterable, also a queryset of tokens, and holds no more than a chunk of it. As a
    task (`broadcast.delay`) it takes a list. With a `request_id` the same broadcast can be made again within 15
    minutes and reaches those only that it did not before; as a task it has one, the task's id.
    """
    if chunk < 1:
        raise InvalidArguments(f"chunk: 1 token or more is needed, not {chunk}")
    name = options.pop("request_id", None) or self.request.id or uuid.uuid4().hex
    payload = notification.payload() if isinstance(notification, Notification) else notification
    tasks = []
    for number, tokens in enumerate(_chunks(recipients, chunk)):
        task = notify.apply_async((app_id, tokens, payload), {**options, "request_id": f"{name}-{number}"})
        tasks.append(task.id)
    return tasks


@shared_task(bind=True, name="apnsd.collect_feedback", resultrepr_maxsize=8, **RETRYING)
def collect_feedback(self: Task[..., list[list[str]]], app_id: str) -> list[list[str]]:
    """The devices that the provider called dead since the last time: a list of [time in UTC, token in hex].

    The call's `request_id` is the task's id: an attempt after one whose answer was lost is given the same devices.
    Where `apnsd.django` is installed, its signal `device_expired` is sent for each; the task fails, after all of them,
    if a receiver did. If the signal has no receivers, and the task no `link`, it fails and collects nothing.
    """
    if not _django_is_used():
        devices = client_of(self.app).feedback(app_id, request_id=self.request.id)
    else:
        from . import django
        from .django.feedback import NO_RECEIVERS, has_receivers

        if not has_receivers() and not self.request.callbacks:
            raise RuntimeError(NO_RECEIVERS)
        collected = django.collect_feedback(app_id, request_id=self.request.id)
        if collected.failures:
            receiver, token, error = collected.failures[0]
            text = f"device_expired: failures: {len(collected.failures)}, the first of {receiver!r} for {token[:8]}…"
            raise RuntimeError(text) from error
        devices = collected.devices
    return [[f"{timestamp.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}", token] for timestamp, token in devices]


def client_of(app: Celery) -> Client:
    """The client that the tasks of a Celery app use."""
    names = {"apnsd_url": "url", "apnsd_timeout": "timeout", "apnsd_apps": "apps"}
    settings = {parameter: app.conf.get(name) for name, parameter in names.items()}
    given = {parameter: value for parameter, value in settings.items() if value is not None}
    if not given and _django_is_used():
        from . import django

        return django.client()
    return _clients.get(app) or _clients.setdefault(app, Client(**given))


def _django_is_used() -> bool:
    registry = sys.modules.get("django.apps")
    return registry is not None and registry.apps.ready and registry.apps.is_installed("apnsd.django")


def _chunks(recipients: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of at most `size`. A queryset is read with as many rows at once."""
    if isinstance(recipients, str):
        recipients = [recipients]
    rows = recipients.iterator(chunk_size=size) if hasattr(recipients, "iterator") else iter(recipients)
    while chunk := list(islice(rows, size)):
        yield chunk
