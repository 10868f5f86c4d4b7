"""Whatever callers give, nothing but an ApnsdError comes of it, and it names what is wrong."""

from __future__ import annotations

import enum
import math
import os
import pickle
import resource
import socket
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from time import monotonic
from typing import Any

import pytest
from conftest import OpenClient
from stub import Stub, answer
from test_world import HELLO

import apnsd
from apnsd._address import Address
from apnsd._connection import Connection

NOWHERE = "http://127.0.0.1:1/"


class Text(str):
    __slots__ = ("more",)


class Name(str, enum.Enum):
    MINE = "myapp"


class Urgency(enum.IntEnum):
    HIGH = 10


class Kind(enum.Enum):
    ALERT = "alert"


def test_subclasses_and_enums_are_taken_as_what_they_hold(open_client: OpenClient) -> None:
    app: Any = {"certificate": Text("PEM"), "environment": Name.MINE, "priority": Urgency.HIGH, "push_type": Kind.ALERT}
    options = {"priority": Urgency.HIGH, "collapse_id": [Text("c")], "push_type": Kind.ALERT, "topic": Name.MINE}
    with Stub(answer(None)) as stub:
        client = open_client(stub.url, apps={Name.MINE: app})
        client.notify(Name.MINE, [Text("aa")], Text("{}"), request_id=Text("r"), **options)
        client.call("system.x", datetime(2030, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), (Text("x"),))
        sent = {"priority": 10, "collapse_id": ["c"], "push_type": "alert", "topic": "myapp", "request_id": "r"}
        assert stub.calls() == [
            ("provision", ("myapp", "PEM", "myapp", 15, {"priority": 10, "push_type": "alert"})),
            ("notify", ("myapp", ["aa"], "{}", sent)),
            ("system.x", (datetime(2030, 1, 1), ["x"])),
        ]


WRONG: dict[str, Callable[[Any], Any]] = {
    "app_id: text is needed, not list": lambda client: client.notify(["x"], "aa", HELLO),
    "app_id: text is needed, not NoneType": lambda client: client.feedback(None),
    "app_id: text is needed, not bytes": lambda client: client.deprovision(b"x"),
    "request_id: text is needed, not list": lambda client: client.notify("x", "aa", HELLO, request_id=["r"]),
    "method: text is needed, not int": lambda client: client.call(5),
    "method: 'a<b' is no name of a method": lambda client: client.call("a<b"),
    "notify: collapse_id: a value of type UUID": lambda client: client.notify(
        "x", "aa", HELLO, collapse_id=uuid.uuid4()
    ),
    "system.x: argument 0: nan cannot be sent": lambda client: client.call("system.x", math.nan),
    r"system.x: argument 0\[1\]: a value of type set": lambda client: client.call("system.x", ["a", {1}]),
    "system.x: a name in argument 0: text is needed, not int": lambda client: client.call("system.x", {1: 2}),
    "system.x: n: XML-RPC has no number as large": lambda client: client.call("system.x", {"n": 2**40}),
    "timeout: at most 1000000 seconds are possible, not inf": lambda client: client.send(
        "x", "aa", HELLO, timeout=math.inf
    ),
}


@pytest.mark.parametrize("problem", WRONG)
def test_a_value_of_a_wrong_kind_is_named(open_client: OpenClient, problem: str) -> None:
    with pytest.raises(apnsd.InvalidArguments, match=problem):
        WRONG[problem](open_client(NOWHERE))


def test_a_list_without_an_end_is_refused(open_client: OpenClient) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(apnsd.InvalidArguments, match="recursion"):
        open_client(NOWHERE).call("system.x", endless)


@pytest.mark.parametrize("timeout", [math.inf, 1e12, 10**30, math.nan, True, None, "5", 0])
def test_a_timeout_is_one_that_can_be_waited_for(open_client: OpenClient, timeout: Any) -> None:
    with pytest.raises(apnsd.InvalidArguments, match="timeout: "):
        open_client(NOWHERE, timeout)
    with pytest.raises(apnsd.InvalidArguments, match="timeout: "):
        apnsd.App("PEM", environment="sandbox", timeout=timeout)


def test_the_longest_timeouts_can_be_waited_for(open_client: OpenClient) -> None:
    with Stub(answer(None)) as stub:
        open_client(stub.url, 1_000_000).provision("x", "PEM", "sandbox", 1_000_000)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"certificate": 5}, "app x: certificate: text or bytes or a bytearray or a path is needed, not int"),
        ({"certificate_file": 5}, "app x: certificate_file: text or a path is needed, not int"),
        ({"certificate": "PEM", "environment": 7}, "app x: environment: text is needed, not int"),
        ({"certificate": "PEM", "priority": "high"}, "app x: priority: a whole number is needed, not str"),
        ({"certificate": "PEM", "connections": True}, "app x: connections: a whole number is needed, not bool"),
        ({"certificate": "PEM", "force": 1}, "app x: force: True or False is needed, not int"),
        ({"certificate": "PEM", "expiration": "soon"}, "app x: expiration: "),
    ],
)
def test_settings_of_a_wrong_kind_are_named(settings: Any, problem: str) -> None:
    with pytest.raises(apnsd.InvalidArguments, match=problem):
        apnsd.Client(NOWHERE, apps={"x": {"environment": "sandbox", **settings}})


def test_the_id_of_an_app_is_text() -> None:
    apps: Any = {5: {"certificate": "PEM", "environment": "sandbox"}}
    with pytest.raises(apnsd.InvalidArguments, match="the id of an app: text is needed, not int"):
        apnsd.Client(NOWHERE, apps=apps)


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_can_have_is_told(open_client: OpenClient, name: str) -> None:
    with pytest.raises(apnsd.InvalidArguments, match="app x: the certificate file cannot be read"):
        open_client(NOWHERE).provision("x", environment="sandbox", certificate_file=name)


def test_a_bytearray_is_a_certificate(open_client: OpenClient) -> None:
    with Stub(answer(None)) as stub:
        open_client(stub.url).provision("x", bytearray(b"\x30"), "sandbox")
        assert stub.calls()[0][1][1] == b"\x30"


@pytest.mark.parametrize(
    "url",
    [
        "http://u:sesame℀@h:7077/",
        "http://u:sesame/w@127.0.0.1:7077/",
        "http://u:80/sesame@127.0.0.1:7077/",
        "http://u:80#sesame@h/",
        "http://u:sesame?x@h/",
        "http://u:[sesame@h/",
        "http://u:sesame\ud800@h/",
        "http://u:sesame@h:port/",
    ],
)
def test_a_password_does_not_stand_in_an_error(url: str) -> None:
    with pytest.raises(apnsd.InvalidArguments, match=r"^the daemon's URL: ") as caught:
        apnsd.Client(url)
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    ["http://a..b:7077/", f"http://{'a' * 70}:7077/", "http://[::1", b"http://x/", 5, "unix:/a\0b", "unix:/\ud800"],
)
def test_a_url_that_is_none_is_refused(open_client: OpenClient, url: Any) -> None:
    with pytest.raises(apnsd.InvalidArguments, match="the daemon's URL: "):
        open_client(url)


def test_a_client_is_not_pickled(open_client: OpenClient) -> None:
    client = open_client("http://u:sesame@127.0.0.1:1/")
    with pytest.raises(TypeError, match="a Client cannot be pickled or copied: make one in each process"):
        pickle.dumps(getattr(client, "client", client))


def test_several_addresses_share_the_time_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    held = []
    for _ in range(3):
        held.append(socket.socket())
        held[-1].setblocking(False)
        held[-1].connect_ex(full.getsockname())
    silent = (socket.AF_INET, socket.SOCK_STREAM, 6, "", full.getsockname())
    with Stub(answer([])) as stub:
        answering = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", stub.port))
        places = [silent] * 3
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
        begun = monotonic()
        with pytest.raises(TimeoutError):
            Connection(Address.of("http://three:1/"), None, begun + 0.6)
        assert monotonic() - begun < 1
        places = [silent, answering]
        with apnsd.Client("http://two:1/", timeout=2) as client:
            assert client.apps() == []
    for connection in (full, *held):
        connection.close()


def test_a_connection_is_looked_after_without_a_file_descriptor_more(open_client: OpenClient) -> None:
    with Stub(answer([])) as stub:
        client = open_client(stub.url)
        client.apps()
        hogs = []
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 200), hard))
        try:
            while True:
                hogs.append(os.dup(0))
        except OSError:
            pass
        try:
            assert client.apps() == []
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for hog in hogs:
                os.close(hog)
        assert stub.connections == 1
