"""`apnsd.celery` with a real worker, a broker in memory, the real daemon and the simulator."""

from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from celery import Celery, signals
from celery.contrib.testing.worker import start_worker  # type: ignore[import-untyped]
from celery.result import AsyncResult
from stub import SILENCE, Stub, answer, http
from world import PATIENCE, World

import apnsd
import apnsd.celery
from apnsd import Notification
from apnsd.celery import broadcast, client_of, collect_feedback, notify

HERE = Path(__file__).resolve().parent
HELLO = {"aps": {"alert": "Hello"}}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A world of these tests alone: its daemon is killed and started again."""
    with World() as world:
        yield world


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the worker logs."""
    return tmp_path_factory.mktemp("celery") / "worker.log"


@pytest.fixture(scope="module")
def app(world: World, log: Path) -> Iterator[Celery]:
    """A Celery app with a worker."""
    app = Celery("shop", broker="memory://", backend="cache+memory://")
    app.conf.apnsd_url = world.proxy_url
    app.conf.apnsd_timeout = 5
    app.conf.broker_transport_options = {"polling_interval": 0.01}
    app.conf.apnsd_apps = {"myapp": {"certificate_file": world.certificate, "environment": "sandbox"}}
    app.set_default()
    logging = {"loglevel": "INFO", "logfile": str(log)}
    with start_worker(app, pool="threads", perform_ping_check=False, shutdown_timeout=PATIENCE, **logging):
        yield app
    client_of(app).close()


def token(start: str) -> str:
    return start + "a" * (64 - len(start))


def arrived(world: World, start: str) -> int:
    """How often something arrived for a token, when it has at least once."""
    tokens = [entry["token"] for entry in world.arrived()]
    missing = token(start) not in tokens
    return [entry["token"] for entry in world.wait_arrived(len(tokens) + missing)].count(token(start))


def outcome(task: AsyncResult[Any]) -> Any:
    """What a task returns or raises."""
    return task.get(timeout=PATIENCE, interval=0.01)


@contextmanager
def awaited(signal: Any) -> Iterator[threading.Event]:
    """Whether a signal of Celery was sent."""
    event = threading.Event()

    def receive(**_: Any) -> None:
        event.set()

    signal.connect(receive)
    yield event
    signal.disconnect(receive)


# --- notify


def test_a_notification_arrives(world: World, app: Celery) -> None:
    assert outcome(notify.delay("myapp", token("a1"), HELLO, priority=5)) is None
    assert arrived(world, "a1") == 1


def test_a_task_waits_for_a_daemon_that_is_down_and_its_notification_arrives_once(world: World, app: Celery) -> None:
    world.kill()
    with awaited(signals.task_retry) as retried:
        result = notify.delay("myapp", token("a2"), HELLO)
        assert retried.wait(PATIENCE)
    world.start()
    assert outcome(result) is None
    assert arrived(world, "a2") == 1


def test_a_task_whose_answers_are_lost_is_repeated_and_its_notification_arrives_once(world: World, app: Celery) -> None:
    outcome(notify.delay("myapp", token("a3"), HELLO))
    world.proxy.lose_answers(2)  # the client's own second attempt too
    with awaited(signals.task_retry) as retried:
        assert outcome(notify.delay("myapp", token("a4"), HELLO)) is None
    assert retried.is_set()
    assert arrived(world, "a4") == 1


def test_a_task_waits_while_the_app_cannot_accept(world: World, app: Celery) -> None:
    with apnsd.Client(world.url) as client:
        client.call("provision", "later", world.expired_certificate, "sandbox")
        with awaited(signals.task_retry) as retried:
            result = notify.delay("later", token("a5"), HELLO)
            assert retried.wait(PATIENCE)
        client.provision("later", world.certificate, "sandbox")
    assert outcome(result) is None
    assert arrived(world, "a5") == 1


def test_a_task_that_cannot_work_fails_at_once(app: Celery) -> None:
    with awaited(signals.task_retry) as retried:
        with pytest.raises(apnsd.InvalidArguments, match=r"options\.priority: 10, 5 or 1 is needed, not 3"):
            outcome(notify.delay("myapp", token("a6"), HELLO, priority=3))
        with pytest.raises(apnsd.UnknownAppID):
            outcome(notify.delay("nobody", token("a6"), HELLO))
    assert not retried.is_set()


def test_a_user_whom_the_daemon_refuses_fails_at_once() -> None:
    with Stub(http(b"No user has this token.\n", "401 Unauthorized")) as stub:
        other = Celery("other", set_as_current=False)
        other.conf.apnsd_url = stub.url
        with pytest.raises(apnsd.NotConfigured, match="No user has this token"):
            other.tasks[notify.name].apply(("myapp", token("a6"), HELLO)).get()
        client_of(other).close()
        assert len(stub.requests) == 1


def test_the_request_id_is_the_tasks_id(world: World, app: Celery) -> None:
    outcome(notify.apply_async(("myapp", token("a7"), HELLO), task_id="order-7"))
    with apnsd.Client(world.url) as client:
        (result,) = client.send("myapp", token("a7"), HELLO, request_id="order-7")
    assert result.outcome == "repeated"
    assert arrived(world, "a7") == 1


QUICK = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
SHOP = """
from celery import Celery

app = Celery("shop", broker="filesystem://")
app.conf.broker_transport_options = {{"data_folder_in": {queue!r}, "data_folder_out": {queue!r}}}
app.conf.broker_transport_options["polling_interval"] = 0.1
app.conf.imports = ["apnsd.celery"]
app.conf.worker_lost_wait = 0.1  # seconds, 10
app.conf.apnsd_url = {url!r}
"""


@pytest.mark.parametrize("task", [notify, collect_feedback], ids=["notify", "collect_feedback"])
def test_a_task_whose_process_is_killed_is_done_again_under_the_same_name(task: Any, tmp_path: Path) -> None:
    (tmp_path / "queue").mkdir()
    with Stub(SILENCE, answer([])) as stub:
        shop = SHOP.format(queue=str(tmp_path / "queue"), url=stub.url)
        (tmp_path / "killed_shop.py").write_text(shop)
        names: dict[str, Any] = {}
        exec(shop.replace('Celery("shop"', 'Celery("shop", set_as_current=False'), names)
        asked = threading.Semaphore(0)
        stub.before_answer = lambda _: asked.release()
        names["app"].tasks[task.name].apply_async(("myapp", token("a9"), HELLO)[: 3 if task is notify else 1])
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "killed_shop", "worker", "-c1", "-Pprefork", *QUICK],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent / "src"), str(tmp_path)])},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert asked.acquire(timeout=2 * PATIENCE)
            (process,) = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
            os.kill(int(process), signal.SIGKILL)
            assert asked.acquire(timeout=2 * PATIENCE)
        finally:
            worker.terminate()
            worker.wait(PATIENCE)
        first, second = (params[-1]["request_id"] for _, params in stub.calls())
        assert first == second


# --- broadcast


def test_a_broadcast_reaches_all_in_chunks(world: World, app: Celery) -> None:
    tokens = [token(f"b0{number}") for number in range(5)]
    tasks = broadcast("myapp", iter(tokens), Notification(alert="Hello"), chunk=2)
    assert len(tasks) == 3
    for task in tasks:
        outcome(app.AsyncResult(task))
    assert [arrived(world, f"b0{number}") for number in range(5)] == [1, 1, 1, 1, 1]


def test_a_broadcast_takes_no_more_than_a_chunk_before_it_enqueues_it(app: Celery) -> None:
    taken: list[str] = []
    enqueued: list[int] = []

    def note(**_: Any) -> None:
        enqueued.append(len(taken))

    def recipients() -> Iterator[str]:
        for number in range(4):
            taken.append(token(f"b1{number}"))
            yield taken[-1]

    published: Any = signals.after_task_publish
    published.connect(note)
    tasks = broadcast("myapp", recipients(), HELLO, chunk=2)
    published.disconnect(note)
    for task in tasks:
        outcome(app.AsyncResult(task))
    assert enqueued == [2, 4]


def test_a_broadcast_reads_a_queryset_in_chunks(world: World, app: Celery) -> None:
    class Queryset:
        def iterator(self, chunk_size: int) -> Iterator[str]:
            assert chunk_size == 1000
            yield token("b2")

    (task,) = broadcast("myapp", Queryset(), HELLO)
    outcome(app.AsyncResult(task))
    assert arrived(world, "b2") == 1


def test_a_broadcast_with_a_request_id_can_be_made_again(world: World, app: Celery) -> None:
    for _ in range(2):
        for task in broadcast("myapp", [token("b3"), token("b4")], HELLO, chunk=1, request_id="monday"):
            outcome(app.AsyncResult(task))
    assert [arrived(world, "b3"), arrived(world, "b4")] == [1, 1]


def test_a_broadcast_can_be_a_task_itself(world: World, app: Celery) -> None:
    (task,) = outcome(broadcast.delay("myapp", [token("b5"), token("b6")], HELLO))
    outcome(app.AsyncResult(task))
    assert [arrived(world, "b5"), arrived(world, "b6")] == [1, 1]


def test_a_broadcast_needs_a_chunk_of_one_or_more(app: Celery) -> None:
    with pytest.raises(apnsd.InvalidArguments, match="chunk: 1 token or more is needed, not 0"):
        broadcast("myapp", [token("b7")], HELLO, chunk=0)


def test_one_token_is_a_broadcast_too(world: World, app: Celery) -> None:
    (task,) = broadcast("myapp", token("b8"), HELLO)
    outcome(app.AsyncResult(task))
    assert arrived(world, "b8") == 1


# --- collect_feedback


def test_feedback_is_returned_as_json_can_say_it(world: World, app: Celery) -> None:
    client = client_of(app)
    client.feedback("myapp")
    (dead,) = client.send("myapp", token("dead01"), HELLO)
    assert dead.timestamp is not None
    assert outcome(collect_feedback.delay("myapp")) == [
        [dead.timestamp.strftime("%Y-%m-%dT%H:%M:%SZ"), token("dead01")]
    ]


def test_feedback_whose_answers_are_lost_is_collected_again(world: World, app: Celery) -> None:
    client = client_of(app)
    client.feedback("myapp")
    client.send("myapp", token("dead03"), HELLO)
    world.proxy.lose_answers(2)  # the client's own second attempt too
    with awaited(signals.task_retry) as retried:
        ((_, dead),) = outcome(collect_feedback.delay("myapp"))
    assert retried.is_set()
    assert dead == token("dead03")
    assert outcome(collect_feedback.delay("myapp")) == []


def test_no_token_is_logged(world: World, app: Celery, log: Path) -> None:
    client_of(app).send("myapp", token("dead02"), HELLO)
    outcome(notify.delay("myapp", token("a8"), HELLO))
    with awaited(signals.task_postrun) as logged:
        assert len(outcome(collect_feedback.delay("myapp"))) == 1
        assert logged.wait(PATIENCE)
    told = log.read_text()
    assert re.search(r"apnsd\.collect_feedback\S+ succeeded", told)
    assert token("dead02")[:10] not in told
    assert token("a8")[:10] not in told


# --- The page


def test_the_example_of_the_page_runs(world: World, app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (HERE.parent / "CELERY.md").read_text(encoding="utf-8")
    settings, calls = (block.split("```", 1)[0] for block in page.split("```python\n")[1:3])
    shop: Any = ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", shop)
    exec(
        settings.replace("http://127.0.0.1:7077/", world.url).replace("/etc/apnsd/myapp.pem", world.certificate),
        vars(shop),
    )
    shop.app.conf.task_always_eager = True
    shop.app.set_default()
    exec(calls, {"tokens": [token("c1"), token("c2")]})
    client_of(shop.app).close()
    app.set_default()
    assert [arrived(world, "0123"), arrived(world, "c1"), arrived(world, "c2")] == [1, 1, 1]


def test_every_task_is_on_the_page() -> None:
    page = (HERE.parent / "CELERY.md").read_text(encoding="utf-8")
    for task in (notify, broadcast, collect_feedback):
        assert f"| `{task.name}` |" in page
        assert inspect.getdoc(task)
