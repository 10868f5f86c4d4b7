"""The blocking client in many threads, and in processes that were forked."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from typing import Any

import pytest
from stub import SILENCE, Stub, answer, fault
from test_world import HELLO, arrivals, token
from world import PATIENCE, World

import apnsd


def test_threads_that_use_an_app_first_at_once_provision_it_once(world: World, apps: dict[str, Any]) -> None:
    with Stub(answer(None)) as stub, apnsd.Client(stub.url, apps=apps) as client:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: client.notify("myapp", "aa", HELLO), range(8)))
        assert [method for method, _ in stub.calls()] == ["provision"] + ["notify"] * 8


def test_threads_that_find_an_app_unknown_provision_it_once_more(world: World, apps: dict[str, Any]) -> None:
    before = world.proxy.connections
    with apnsd.Client(world.proxy_url, apps=apps) as client:
        client.configure()
        world.kill()
        world.forget()
        world.start()
        arrived = len(world.arrived())
        tokens = [token("aa") for _ in range(80)]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda name: client.notify("myapp", name, HELLO), tokens))
        assert [entry["token"] for entry in arrivals(world, tokens, arrived)] == tokens
    assert world.proxy.connections - before <= 1 + 8


def test_of_threads_that_find_an_app_unknown_at_once_one_provisions_it(apps: dict[str, Any]) -> None:
    both_asked, asked = threading.Barrier(2), iter([True, True])

    def hold_up_until_both_asked(body: bytes) -> None:
        if b"<methodName>notify" in body and next(asked, False):
            both_asked.wait(PATIENCE)

    unknown = fault(404, "unknown")
    with Stub(answer(None), unknown, unknown, answer(None)) as stub, apnsd.Client(stub.url, apps=apps) as client:
        stub.before_answer = hold_up_until_both_asked
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda _: client.notify("myapp", "aa", HELLO), range(2)))
        methods = [method for method, _ in stub.calls()]
        assert methods == ["provision", "notify", "notify", "provision", "notify", "notify"]


def test_an_app_that_waits_holds_up_no_other(apps: dict[str, Any]) -> None:
    reached = threading.Event()

    def hold_up_slow(body: bytes) -> None:
        if b"<string>slow</string>" in body:
            assert reached.wait(PATIENCE)

    settings = apps["myapp"]
    with Stub(answer(None)) as stub, apnsd.Client(stub.url, apps={"slow": settings, "quick": settings}) as client:
        stub.before_answer = hold_up_slow
        with ThreadPoolExecutor(1) as threads:
            slow = threads.submit(client.notify, "slow", "aa", HELLO)
            client.notify("quick", "aa", HELLO)
            assert not slow.done()
            reached.set()
            slow.result()


def test_why_the_first_use_failed_is_told_where_the_daemon_does_not_know_the_app(apps: dict[str, Any]) -> None:
    with Stub(fault(8002, "expired"), fault(404, "unknown")) as stub, apnsd.Client(stub.url, apps=apps) as client:
        with pytest.raises(apnsd.InvalidArguments, match="expired") as caught:
            client.notify("myapp", "aa", HELLO, request_id="r")
        assert caught.value.request_id == "r"
        assert [method for method, _ in stub.calls()] == ["provision", "notify"]


def test_a_provision_that_fails_again_is_what_every_caller_gets(apps: dict[str, Any]) -> None:
    with Stub(answer(None), answer(None), fault(404, "unknown"), fault(500, "later")) as stub:
        with apnsd.Client(stub.url, apps=apps) as client:
            client.notify("myapp", "aa", HELLO)
            with pytest.raises(apnsd.ServerTimeout, match="later"):
                client.notify("myapp", "bb", HELLO)
        assert [method for method, _ in stub.calls()] == ["provision", "notify", "notify", "provision"]


def test_an_app_that_stays_unknown_is_told_after_one_more_try(apps: dict[str, Any]) -> None:
    with Stub(answer(None), fault(404, "unknown"), answer(None), fault(404, "still unknown")) as stub:
        with apnsd.Client(stub.url, apps=apps) as client, pytest.raises(apnsd.UnknownAppID, match="still unknown"):
            client.notify("myapp", "aa", HELLO)
        assert [method for method, _ in stub.calls()] == ["provision", "notify", "provision", "notify"]


def test_threads_that_wait_for_a_silent_daemon_are_told_when_the_first_is() -> None:
    apps = {"myapp": {"certificate": "PEM", "environment": "sandbox", "timeout": 0.1}}
    with Stub(SILENCE) as stub, apnsd.Client(stub.url, timeout=0.4, apps=apps) as client:

        def notify(_: int) -> float:
            begun = monotonic()
            with pytest.raises(apnsd.ConnectionFailed, match=r"gave no answer within 0\.5 seconds"):
                client.notify("myapp", "aa", HELLO)
            return monotonic() - begun

        with ThreadPoolExecutor(6) as threads:
            assert max(threads.map(notify, range(6))) < 1.5
        assert len(stub.requests) == 1


def test_what_a_thread_waited_for_another_counts_against_its_own_call() -> None:
    asked = threading.Event()

    def wait_for_the_other(body: bytes) -> None:
        if b"provision" in body:
            asked.set()
            sleep(1)

    apps = {"myapp": {"certificate": "PEM", "environment": "sandbox", "timeout": 0.2}}
    with Stub(answer(None), SILENCE) as stub, apnsd.Client(stub.url, timeout=1.5, apps=apps) as client:
        stub.before_answer = wait_for_the_other
        with ThreadPoolExecutor(1) as threads:
            other = threads.submit(client.provision, "myapp")
            assert asked.wait(PATIENCE)
            begun = monotonic()
            with pytest.raises(apnsd.ConnectionFailed, match=r"1\.5 seconds, of which 0\.[78] were spent waiting"):
                client.notify("myapp", "aa", HELLO)
            assert monotonic() - begun < 2.2
            other.result()


def test_settings_whose_turn_does_not_come_are_kept() -> None:
    asked = threading.Event()
    apps = {"myapp": {"certificate": "old", "environment": "sandbox", "timeout": 0.1}}
    with Stub(SILENCE, answer(None)) as stub, apnsd.Client(stub.url, timeout=0.4, apps=apps) as client:
        stub.before_answer = lambda _: asked.set()
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(client.notify, "myapp", "aa", HELLO)
            assert asked.wait(PATIENCE)
            with pytest.raises(apnsd.ConnectionFailed):
                client.provision("myapp", "new", "sandbox")
            with pytest.raises(apnsd.ConnectionFailed):
                first.result()
        client.notify("myapp", "aa", HELLO)
        assert [params[1] for method, params in stub.calls() if method == "provision"] == ["old", "new"]


def test_a_thread_that_waited_for_a_refusal_goes_on(apps: dict[str, Any]) -> None:
    both_asked, asked = threading.Barrier(2), iter([True, True])

    def hold_up_until_both_asked(body: bytes) -> None:
        if b"<methodName>notify" in body and next(asked, False):
            both_asked.wait(PATIENCE)

    unknown, later = fault(404, "unknown"), fault(500, "later")
    answers = [answer(None), unknown, unknown, later, answer(None)]
    with Stub(*answers) as stub, apnsd.Client(stub.url, apps=apps) as client:
        stub.before_answer = hold_up_until_both_asked

        def notify(_: int) -> bool:
            try:
                client.notify("myapp", "aa", HELLO)
            except apnsd.ServerTimeout:
                return False
            return True

        with ThreadPoolExecutor(2) as threads:
            assert sorted(threads.map(notify, range(2))) == [False, True]


def test_a_logging_handler_may_notify_too(apps: dict[str, Any]) -> None:
    class Alarm(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            client.notify("myapp", "bb", HELLO)

    alarm = Alarm()
    logging.getLogger("apnsd").addHandler(alarm)
    try:
        with Stub(fault(8002, "expired"), answer(None)) as stub, apnsd.Client(stub.url, apps=apps) as client:
            with ThreadPoolExecutor(1) as threads:
                threads.submit(client.notify, "myapp", "aa", HELLO).result(PATIENCE)
            assert [params[1] for method, params in stub.calls() if method == "notify"] == [["bb"], ["aa"]]
    finally:
        logging.getLogger("apnsd").removeHandler(alarm)


def test_what_nobody_asked_for_is_nobodys_answer() -> None:
    with Stub(answer(1), answer(2)) as stub, apnsd.Client(stub.url) as client:
        assert client.call("a") == 1
        stub.say(answer("not asked for"))
        assert client.call("b") == 2
        assert stub.connections == 2


def test_a_connection_that_the_daemon_closed_meanwhile_costs_no_repetition() -> None:
    with Stub(answer(1)) as stub, apnsd.Client(stub.url) as client:
        client.call("a")
        stub.hang_up()
        assert client.call("b") == 1
        assert [method for method, _ in stub.calls()] == ["a", "b"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_has_connections_of_its_own(world: World, apps: dict[str, Any]) -> None:
    arrived, tokens = len(world.arrived()), [token("aa") for _ in range(30)]
    with apnsd.Client(world.proxy_url, apps=apps) as client:
        client.configure()
        before = world.proxy.connections
        children = []
        for part in (tokens[:10], tokens[10:20]):
            child = os.fork()
            if child == 0:
                for name in part:
                    client.notify("myapp", name, HELLO)
                os._exit(0)
            children.append(child)
        for name in tokens[20:]:
            client.notify("myapp", name, HELLO)
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
        assert world.proxy.connections == before + 2
    assert [entry["token"] for entry in arrivals(world, tokens, arrived)] == tokens


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_while_an_app_is_being_provisioned_does_not_wait_for_its_parent(apps: dict[str, Any]) -> None:
    begun, over = threading.Event(), threading.Event()

    def hold_up_the_first(_: bytes) -> None:
        if not begun.is_set():
            begun.set()
            assert over.wait(PATIENCE)

    with Stub(answer(None)) as stub, apnsd.Client(stub.url, apps=apps) as client:
        stub.before_answer = hold_up_the_first
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(client.notify, "myapp", "aa", HELLO)
            assert begun.wait(PATIENCE)
            child = os.fork()
            if child == 0:
                client.notify("myapp", "bb", HELLO)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            over.set()
            first.result()
