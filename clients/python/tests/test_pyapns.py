"""`apnsd.pyapns`: what callers of pyapns rely on, and what it did wrong."""

from __future__ import annotations

import errno
import inspect
import pickle
import socket
import subprocess
import sys
import threading
import xmlrpc.client
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from stub import SILENCE, Stub, answer, fault
from world import PATIENCE, World, free_port

import apnsd
import apnsd.pyapns as pyapns

HERE = Path(__file__).resolve().parent
HELLO = {"aps": {"alert": "Hello"}}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A world of these tests alone: its daemon is killed and loses its state."""
    with World() as world:
        yield world


@pytest.fixture(autouse=True)
def options() -> Iterator[dict[str, Any]]:
    """The options of a program that has just started."""
    pyapns.OPTIONS.clear()
    pyapns.OPTIONS.update(CONFIGURED=False, TIMEOUT=20)
    yield pyapns.OPTIONS
    if pyapns._present is not None:
        pyapns._present.client.close()
    pyapns._present = None
    pyapns._provisioned.clear()


@pytest.fixture
def initial(world: World) -> list[tuple[Any, ...]]:
    return [("myapp", world.certificate, "sandbox", 15)]


def token(start: str) -> str:
    return start + "a" * (64 - len(start))


def arrives(world: World, start: str) -> bool:
    """Whether what was just sent to a token arrives, once."""
    tokens = [entry["token"] for entry in world.arrived()]
    missing = token(start) not in tokens
    return [entry["token"] for entry in world.wait_arrived(len(tokens) + missing)].count(token(start)) == 1


def known_apps(world: World) -> list[str]:
    with apnsd.Client(world.url) as client:
        return [app["app_id"] for app in client.apps()]


def lose_state(world: World) -> None:
    world.kill()
    world.forget()
    world.start()


class Ending:
    """Waits for what a call in a thread ends with."""

    def __init__(self) -> None:
        self.value: Any = None
        self._event = threading.Event()

    def __call__(self, value: Any) -> None:
        self.value = value
        self._event.set()

    def wait(self) -> Any:
        assert self._event.wait(PATIENCE)
        return self.value


# --- As pyapns


def test_arguments_stand_where_they_stood() -> None:
    def parameters(function: Any) -> list[str]:
        return list(inspect.signature(function).parameters)[:-1]

    more = ["async_", "callback", "errback"]
    assert parameters(pyapns.provision) == ["app_id", "path_to_cert", "environment", "timeout", *more]
    assert parameters(pyapns.notify) == ["app_id", "tokens", "notifications", *more]
    assert parameters(pyapns.feedback) == ["app_id", *more]
    assert inspect.signature(pyapns.provision).parameters["timeout"].default == 15


def test_a_notification_arrives(world: World, initial: list[tuple[Any, ...]]) -> None:
    assert pyapns.configure({"HOST": world.url, "TIMEOUT": 5, "INITIAL": initial}) is True
    assert pyapns.notify("myapp", token("a1"), HELLO) is None
    assert arrives(world, "a1")


def test_initial_may_leave_the_timeout_out(world: World) -> None:
    pyapns.configure({"HOST": world.url, "INITIAL": [("short", world.certificate, "sandbox")]})
    assert pyapns.feedback("short") == []


def test_the_first_call_configures_from_the_options(world: World, initial: list[tuple[Any, ...]]) -> None:
    pyapns.OPTIONS.update(HOST=world.url, INITIAL=initial)
    pyapns.notify("myapp", [token("a2"), token("a3")], [HELLO, HELLO])
    assert pyapns.OPTIONS["CONFIGURED"] is True
    assert arrives(world, "a2")
    assert arrives(world, "a3")


def test_a_second_configure_is_ignored(world: World) -> None:
    pyapns.configure({"HOST": world.url})
    assert pyapns.configure({"HOST": "http://other.example:7077/"}) is True
    assert pyapns.OPTIONS["HOST"] == world.url


def test_the_recovery_idiom_of_old_programs_provisions_again(world: World, initial: list[tuple[Any, ...]]) -> None:
    pyapns.configure({"HOST": world.url, "INITIAL": initial})
    lose_state(world)
    pyapns.OPTIONS["CONFIGURED"] = False
    assert pyapns.configure({}) is True
    assert known_apps(world) == ["myapp"]


def test_an_unknown_app_is_told_by_its_class(world: World) -> None:
    pyapns.configure({"HOST": world.url})
    with pytest.raises(pyapns.UnknownAppID) as caught:
        pyapns.notify("nobody", token("a1"), HELLO)
    assert not isinstance(caught.value, xmlrpc.client.Fault)
    assert isinstance(caught.value, apnsd.ApnsdError)


def test_other_faults_are_those_of_xmlrpc(world: World) -> None:
    pyapns.configure({"HOST": world.url})
    with pytest.raises(xmlrpc.client.Fault) as caught:
        pyapns.provision("myapp", world.certificate, "staging")
    fault = caught.value
    assert fault.faultCode == 401
    text = "Invalid environment provided `staging`. Valid environments are `sandbox` and `production`"
    assert fault.faultString.startswith(text)
    assert str(fault).startswith(f"<Fault 401: '{text}")
    assert isinstance(fault, apnsd.ApnsdError)
    assert fault.code == 401
    copied = pickle.loads(pickle.dumps(fault))
    assert (copied.faultCode, copied.code, copied.text) == (401, 401, fault.faultString)


def test_socket_errors_are_socket_errors() -> None:
    pyapns.configure({"HOST": f"http://127.0.0.1:{free_port()}/"})
    with pytest.raises(OSError, match="is the daemon running"):
        pyapns.notify("myapp", token("a1"), HELLO)
    with pytest.raises(OSError, match="is the daemon running"):
        pyapns.notify("myapp", token("a1"), HELLO, errback=pytest.fail)


def test_socket_errors_have_their_number_and_timeouts_their_class() -> None:
    pyapns.configure({"HOST": f"http://127.0.0.1:{free_port()}/"})
    with pytest.raises(OSError, match="is the daemon running") as refused:
        pyapns.feedback("myapp")
    assert refused.value.errno == errno.ECONNREFUSED
    with Stub(SILENCE) as stub:
        pyapns.OPTIONS.update(HOST=stub.url, TIMEOUT=0.1)
        with pytest.raises(socket.timeout, match="gave no answer") as late:
            pyapns.notify("myapp", token("a1"), HELLO)
    assert isinstance(late.value, apnsd.ConnectionFailed)
    assert late.value.request_id


def test_who_waits_for_the_call_of_another_thread_has_a_timeout_too() -> None:
    with Stub(SILENCE) as stub:
        initial = [("myapp", "certificate", "sandbox", 0.1)]
        pyapns.OPTIONS.update(HOST=stub.url, TIMEOUT=0.3, INITIAL=initial)
        endings = [Ending(), Ending()]
        for ending in endings:
            pyapns.feedback("myapp", async_=True, errback=ending)
        assert [isinstance(ending.wait(), socket.timeout) for ending in endings] == [True, True]


def test_the_result_goes_through_the_callback(world: World, initial: list[tuple[Any, ...]]) -> None:
    pyapns.configure({"HOST": world.url, "INITIAL": initial})
    assert pyapns.feedback("myapp", callback=len) == 0
    assert pyapns.notify("myapp", [], HELLO, False, lambda result: ["was", result]) == ["was", None]


def test_a_fault_goes_to_the_errback(world: World) -> None:
    pyapns.configure({"HOST": world.url})
    ending = Ending()
    assert pyapns.notify("nobody", token("a1"), HELLO, errback=ending, callback=pytest.fail) is None
    assert isinstance(ending.wait(), pyapns.UnknownAppID)


@pytest.mark.parametrize("keyword", ["async", "async_"])
def test_an_asynchronous_call_returns_at_once_and_calls_back(
    keyword: str, world: World, initial: list[tuple[Any, ...]]
) -> None:
    pyapns.configure({"HOST": world.url, "INITIAL": initial})
    ending = Ending()
    how: dict[str, Any] = {keyword: True}
    assert pyapns.feedback("myapp", callback=ending, **how) is None
    assert ending.wait() == []


def test_an_asynchronous_fault_goes_to_the_errback(world: World) -> None:
    pyapns.configure({"HOST": world.url})
    ending = Ending()
    pyapns.provision("myapp", world.certificate, "staging", 15, True, None, ending)
    assert ending.wait().faultCode == 401


def test_the_recovery_idiom_goes_by_initial_whatever_was_refused_meanwhile(
    world: World, initial: list[tuple[Any, ...]]
) -> None:
    pyapns.configure({"HOST": world.url, "INITIAL": initial})
    for app_id, certificate, environment in (("other", world.certificate, "staging"), ("myapp", "/x.pem", "sandbox")):
        with pytest.raises(xmlrpc.client.Fault):
            pyapns.provision(app_id, certificate, environment)
    pyapns.provision("myapp", world.second_certificate, "sandbox")
    lose_state(world)
    pyapns.OPTIONS["CONFIGURED"] = False
    assert pyapns.configure({}) is True
    with apnsd.Client(world.url) as client:
        (app,) = client.apps()
    assert (app["app_id"], app["subject"]) == ("myapp", "Apple Push Services: com.example.app")


def test_changed_options_do_not_take_away_what_provision_was_given() -> None:
    with Stub(answer(None), answer(None), fault(404, "unknown"), answer(None), answer(None)) as stub:
        pyapns.configure({"HOST": stub.url})
        pyapns.provision("late", "certificate", "sandbox")
        pyapns.OPTIONS["TIMEOUT"] = 5
        pyapns.notify("late", token("a8"), HELLO)
        assert [method for method, _ in stub.calls()] == ["provision", "provision", "notify", "provision", "notify"]


def test_a_changed_initial_comes_before_what_provision_was_given() -> None:
    with Stub(answer(None)) as stub:
        pyapns.configure({"HOST": stub.url})
        pyapns.provision("myapp", "given", "sandbox")
        pyapns.OPTIONS["INITIAL"] = iter([["myapp", "initial", "sandbox"]])
        for _ in range(2):
            pyapns.notify("myapp", token("a8"), HELLO)
        certificates = [params[1] for method, params in stub.calls() if method == "provision"]
        assert certificates == ["given", "initial"]


# --- What pyapns did wrong


def test_feedback_returns_its_list_when_the_app_had_to_be_provisioned_again(
    world: World, initial: list[tuple[Any, ...]]
) -> None:
    pyapns.configure({"HOST": world.url, "INITIAL": initial})
    lose_state(world)
    assert pyapns.feedback("myapp") == []


def test_a_notification_arrives_when_the_app_had_to_be_provisioned_again(
    world: World, initial: list[tuple[Any, ...]]
) -> None:
    pyapns.configure({"HOST": world.url, "INITIAL": initial})
    lose_state(world)
    pyapns.notify("myapp", token("b1"), HELLO)
    assert arrives(world, "b1")


def test_what_provision_was_given_is_provisioned_again_too(world: World) -> None:
    pyapns.configure({"HOST": world.url})
    pyapns.provision("late", Path(world.certificate).read_text(), "sandbox")
    lose_state(world)
    pyapns.notify("late", token("b2"), HELLO)
    assert arrives(world, "b2")


def test_an_app_outside_of_initial_is_unknown_at_once(world: World, initial: list[tuple[Any, ...]]) -> None:
    pyapns.configure({"HOST": world.url, "INITIAL": initial})
    with pytest.raises(pyapns.UnknownAppID):
        pyapns.feedback("other")


def test_every_entry_of_initial_is_provisioned_and_the_first_failure_told(world: World) -> None:
    lose_state(world)
    initial = [("bad", world.certificate, "staging"), ("good", world.certificate, "sandbox")]
    with pytest.raises(xmlrpc.client.Fault) as caught:
        pyapns.configure({"HOST": world.url, "INITIAL": initial})
    assert caught.value.faultCode == 401
    assert known_apps(world) == ["good"]
    pyapns.notify("good", token("b3"), HELLO)
    assert arrives(world, "b3")


def test_a_certificate_that_cannot_be_used_stops_neither_the_program_nor_the_other_apps(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    lose_state(world)
    initial = [
        ("first", world.certificate, "sandbox"),
        ("old", "no certificate", "sandbox"),
        ("last", world.certificate, "sandbox"),
    ]
    with caplog.at_level("WARNING", "apnsd"):
        assert pyapns.configure({"HOST": world.url, "INITIAL": initial}) is True
    assert known_apps(world) == ["first", "last"]
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith("INITIAL: old cannot be provisioned: ")
    assert "neither PEM text" in line
    pyapns.notify("last", token("b4c1"), HELLO)
    assert arrives(world, "b4c1")
    with pytest.raises(xmlrpc.client.Fault, match="neither PEM text"):
        pyapns.notify("old", token("b4c1"), HELLO)


def test_a_call_that_nobody_configured_says_so() -> None:
    with pytest.raises(pyapns.APNSNotConfigured, match="configure"):
        pyapns.notify("myapp", token("a1"), HELLO)


def test_a_call_before_configure_does_not_keep_configure_from_its_work(
    world: World, initial: list[tuple[Any, ...]]
) -> None:
    with pytest.raises(pyapns.APNSNotConfigured, match=r"call configure\("):
        pyapns.notify("myapp", token("b5"), HELLO)
    assert pyapns.configure({"HOST": world.url, "INITIAL": initial}) is True
    pyapns.notify("myapp", token("b5"), HELLO)
    assert arrives(world, "b5")


def test_asynchronous_socket_errors_go_to_the_errback() -> None:
    pyapns.configure({"HOST": f"http://127.0.0.1:{free_port()}/"})
    ending = Ending()
    pyapns.notify("myapp", token("a1"), HELLO, async_=True, errback=ending)
    assert isinstance(ending.wait(), OSError)


def test_an_asynchronous_error_that_nobody_takes_ends_its_thread_audibly(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = Ending()
    monkeypatch.setattr(threading, "excepthook", lambda told: ending(told.exc_type))
    pyapns.configure({"HOST": world.url})
    pyapns.feedback("nobody", async_=True)
    assert ending.wait() is pyapns.UnknownAppID


def test_a_number_beyond_32_bits_arrives(world: World, initial: list[tuple[Any, ...]]) -> None:
    pyapns.configure({"HOST": world.url, "INITIAL": initial})
    pyapns.notify("myapp", token("b4"), {"aps": {}, "order": 2**40, "none": None})
    assert arrives(world, "b4")
    (payload,) = [entry["payload"] for entry in world.arrived() if entry["token"] == token("b4")]
    assert payload == {"aps": {}, "order": 1099511627776, "none": None}


def test_no_callback_may_be_said_with_none(world: World, initial: list[tuple[Any, ...]]) -> None:
    pyapns.configure({"HOST": world.url, "INITIAL": initial})
    assert pyapns.feedback("myapp", callback=None, errback=None) == []


def test_a_callback_in_the_place_of_async_is_refused_before_the_call() -> None:
    with pytest.raises(TypeError, match="callback="):
        pyapns.feedback("myapp", print)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'asynchronous'"):
        pyapns.feedback("myapp", asynchronous=True)


def test_a_host_needs_no_scheme_and_no_slash(world: World, initial: list[tuple[Any, ...]]) -> None:
    for host in (world.url.rstrip("/"), world.url[len("http://") :].rstrip("/"), f"unix:{world.socket}"):
        pyapns.OPTIONS["CONFIGURED"] = False
        pyapns.configure({"HOST": host, "INITIAL": initial})
        assert pyapns.feedback("myapp") == []


def test_calls_share_a_connection(world: World, initial: list[tuple[Any, ...]]) -> None:
    before = world.proxy.connections
    pyapns.configure({"HOST": world.proxy_url, "INITIAL": initial})
    for _ in range(5):
        pyapns.feedback("myapp")
    assert world.proxy.connections == before + 1


def test_different_numbers_of_tokens_and_notifications_are_refused(
    world: World, initial: list[tuple[Any, ...]]
) -> None:
    pyapns.configure({"HOST": world.url, "INITIAL": initial})
    with pytest.raises(apnsd.InvalidArguments):
        pyapns.notify("myapp", [token("a1"), token("a2")], [HELLO])


# --- Feedback


def test_feedback_is_a_list_of_lists_of_time_and_token(world: World, initial: list[tuple[Any, ...]]) -> None:
    pyapns.configure({"HOST": world.url, "INITIAL": initial})
    pyapns.notify("myapp", [], HELLO)
    with apnsd.Client(world.url) as client:
        (outcome,) = client.send("myapp", token("dead"), HELLO)
    assert outcome.reason == "Unregistered"
    [[time, dead]] = pyapns.feedback("myapp")
    assert dead == token("dead")
    assert datetime.strptime(time.value, "%Y%m%dT%H:%M:%S").replace(tzinfo=timezone.utc) == time


# --- Where it comes from


def run(code: str, **environment: str) -> str:
    """What a program prints."""
    command = [sys.executable, "-c", code]
    path = str(Path(apnsd.__file__).resolve().parents[1])
    done = subprocess.run(
        command, env={"PYTHONPATH": path, **environment}, stdout=subprocess.PIPE, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0
    return done.stdout


def test_code_that_imports_pyapns_finds_this_module() -> None:
    code = """
import sys, apnsd.pyapns
sys.modules["pyapns"] = sys.modules["pyapns.client"] = apnsd.pyapns
from pyapns import configure, feedback, notify, provision
from pyapns.client import OPTIONS, UnknownAppID, APNSNotConfigured
import pyapns.client
print(pyapns.client.notify is notify, sorted(OPTIONS.items()))
"""
    assert run(code) == "True [('CONFIGURED', False), ('TIMEOUT', 20)]\n"


def test_settings_of_django_come_before_the_dict() -> None:
    code = """
import django.conf
django.conf.settings.configure(PYAPNS_CONFIG={"HOST": "http://django.example/", "TIMEOUT": 3})
from apnsd import pyapns
print(pyapns.configure({"HOST": "http://dict.example/"}), pyapns.OPTIONS)
"""
    assert run(code) == "True {'CONFIGURED': True, 'TIMEOUT': 3, 'HOST': 'http://django.example/'}\n"


def test_django_without_settings_for_pyapns_changes_nothing() -> None:
    code = """
import django.conf
from apnsd import pyapns
pyapns.configure({"HOST": "http://first.example/"})
django.conf.settings.configure()
pyapns.OPTIONS["CONFIGURED"] = False
pyapns.configure({"HOST": "http://second.example/"})
print(pyapns.OPTIONS["HOST"])
"""
    assert run(code) == "http://second.example/\n"


@pytest.mark.parametrize(
    ("lines", "host"),
    [
        ("", "http://settings.example/"),
        ("PYAPNS_CONFIG = {'HOST': 'http://django.example/'}", "http://django.example/"),
    ],
)
def test_settings_of_django_may_call_configure_themselves(lines: str, host: str, tmp_path: Path) -> None:
    settings = "import apnsd.pyapns\napnsd.pyapns.configure({'HOST': 'http://settings.example/'})\n"
    (tmp_path / "shop_settings.py").write_text(settings + lines)
    code = f"""
import sys
sys.path.append({str(tmp_path)!r})
from apnsd import pyapns
print(pyapns.configure({{"HOST": "http://dict.example/"}}), pyapns.OPTIONS["HOST"])
"""
    assert run(code, DJANGO_SETTINGS_MODULE="shop_settings") == f"True {host}\n"


def test_settings_of_django_that_cannot_be_read_leave_the_dict() -> None:
    code = """
from apnsd import pyapns
print(pyapns.configure({"HOST": "http://dict.example/"}), pyapns.OPTIONS["HOST"])
"""
    assert run(code, DJANGO_SETTINGS_MODULE="nosuch.module") == "True http://dict.example/\n"


def test_the_example_of_the_page_runs(world: World) -> None:
    page = (HERE.parent / "PYAPNS.md").read_text(encoding="utf-8")
    example = page.split("```python\n", 1)[1].split("```", 1)[0]
    exec(example.replace("http://127.0.0.1:7077/", world.url).replace("/etc/apnsd/myapp.pem", world.certificate), {})
    assert arrives(world, "0123")
