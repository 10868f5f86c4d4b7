"""What clients make of answers, good and bad; against a server that answers what it is told."""

from __future__ import annotations

import ssl
import subprocess
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from conftest import OpenClient
from stub import CLOSE, SILENCE, Stub, answer, fault, http, xml
from world import PATIENCE

import apnsd

HELLO = {"aps": {"alert": "Hello"}}
PEM = {"myapp": {"certificate": "PEM", "environment": "sandbox"}}


def test_provision_always_has_five_arguments(open_client: OpenClient) -> None:
    with Stub(answer(None)) as stub:
        open_client(stub.url, apps=PEM).provision("myapp")
        assert stub.calls() == [("provision", ("myapp", "PEM", "sandbox", 15, {}))]


def test_bytes_of_a_certificate_are_passed_as_base64(open_client: OpenClient) -> None:
    with Stub(answer(None)) as stub:
        open_client(stub.url).provision("myapp", b"\x30\x82", "sandbox", 5, passphrase="é")
        assert b"<base64>\nMII=\n</base64>" in stub.requests[0][1]
        assert stub.calls() == [("provision", ("myapp", b"\x30\x82", "sandbox", 5, {"passphrase": "é"}))]


def test_notify_passes_json_text_and_names_itself(open_client: OpenClient) -> None:
    with Stub(answer(None)) as stub:
        client = open_client(stub.url)
        client.notify("myapp", "aa", HELLO, priority=5)
        client.notify("myapp", ["aa", b"\xbb"], [HELLO, apnsd.Notification("é")], request_id="r")
        (_, first), (_, second) = stub.calls()
        assert first[:3] == ("myapp", ["aa"], '{"aps":{"alert":"Hello"}}')
        assert len(first[3].pop("request_id")) == 32
        assert first[3] == {"priority": 5}
        notifications = ['{"aps":{"alert":"Hello"}}', '{"aps":{"alert":"é"}}']
        assert second == ("myapp", ["aa", "bb"], notifications, {"request_id": "r"})


def test_user_and_password_of_the_url_are_sent_with_each_call(open_client: OpenClient) -> None:
    with Stub(answer([])) as stub:
        client = open_client(stub.url.replace("//", "//me:secret@"))
        client.apps()
        client.apps()
        assert [("Authorization: Basic bWU6c2VjcmV0\r\n" in head) for head, _ in stub.requests] == [True, True]
        assert all("Origin" not in head for head, _ in stub.requests)


def test_a_proxy_of_the_environment_is_not_used(open_client: OpenClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    with Stub(answer([])) as stub:
        assert open_client(stub.url).apps() == []


def test_times_are_in_utc_and_say_so(open_client: OpenClient) -> None:
    when = datetime(2011, 3, 13, 7, 6, 40)
    aware = when.replace(tzinfo=timezone.utc)
    with Stub(answer([[when, "ab"]])) as stub:
        assert open_client(stub.url).feedback("myapp") == [(aware, "ab")]
    with Stub(answer({"app_id": "myapp", "since": when, "retries": {"x": [when]}})) as stub:
        status = open_client(stub.url).status("myapp")
        assert status == {"app_id": "myapp", "since": aware, "retries": {"x": [aware]}}


def test_what_a_later_daemon_tells_more_is_left_out(open_client: OpenClient) -> None:
    row = {"token": "ab", "outcome": "accepted", "retry": False, "colour": "red"}
    with Stub(answer([row])) as stub:
        assert open_client(stub.url).send("myapp", "ab", HELLO) == [apnsd.Result("ab", "accepted")]


def test_a_fault_has_its_code_its_text_and_the_request_id(open_client: OpenClient) -> None:
    with Stub(fault(500, "the disk is full")) as stub:
        with pytest.raises(apnsd.ServerTimeout) as caught:
            open_client(stub.url).notify("myapp", "aa", HELLO, request_id="r")
        assert (caught.value.code, str(caught.value), caught.value.request_id) == (500, "the disk is full", "r")


@pytest.mark.parametrize("close_early", [False, True])
def test_an_http_error_is_told_with_what_it_says(open_client: OpenClient, close_early: bool) -> None:
    refusal = http(b"The body is over the limit.\n", "413 Payload Too Large", "Connection: close\r\n" * close_early)
    with Stub(refusal) as stub:
        client = open_client(stub.url.replace("//", "//me:secret@"))
        with pytest.raises(apnsd.InvalidArguments) as caught:
            client.notify("myapp", "aa", HELLO)
        assert str(caught.value) == f"{stub.url} answered 413 Payload Too Large: The body is over the limit."
        assert caught.value.code is None
        assert len(stub.requests) == 1


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_user_whom_the_daemon_refuses_is_a_matter_of_settings(open_client: OpenClient, status: str) -> None:
    with Stub(http(b"No user has this token.\n", status)) as stub:
        client = open_client(stub.url, apps=PEM)
        for call in (
            lambda: client.notify("myapp", "aa", HELLO),
            client.configure,
            lambda: client.deprovision("myapp"),
        ):
            with pytest.raises(apnsd.NotConfigured) as caught:
                call()
            assert str(caught.value) == f"{stub.url} answered {status}: No user has this token."
            assert caught.value.code is None
        # Not to the daemon, and so not here, was the app deprovisioned.
        assert [method for method, _ in stub.calls()] == ["provision", "provision", "apnsd.deprovision"]
        with pytest.raises(apnsd.NotConfigured):
            client.provision("myapp")
        assert len(stub.requests) == 4


@pytest.mark.parametrize(
    ("status", "kind", "is_apnsds"),
    [
        ("302 Found", apnsd.ConnectionFailed, False),
        ("400 Bad Request", apnsd.InvalidArguments, True),
        ("404 Not Found", apnsd.ConnectionFailed, False),
        ("405 Method Not Allowed", apnsd.ConnectionFailed, False),
        ("408 Request Timeout", apnsd.ConnectionFailed, True),
        ("415 Unsupported Media Type", apnsd.InvalidArguments, True),
        ("429 Too Many Requests", apnsd.ServerTimeout, True),
        ("500 Internal Server Error", apnsd.ConnectionFailed, True),
        ("502 Bad Gateway", apnsd.ConnectionFailed, True),
        ("503 Service Unavailable", apnsd.ServerTimeout, True),
    ],
)
def test_an_http_error_is_of_the_kind_that_says_whether_to_try_again(
    open_client: OpenClient, status: str, kind: type[apnsd.ApnsdError], is_apnsds: bool
) -> None:
    with Stub(http(b"", status)) as stub:
        with pytest.raises(apnsd.ApnsdError) as caught:
            open_client(stub.url).apps()
        assert (type(caught.value), caught.value.code) == (kind, None)
        end = "" if is_apnsds else "; is this the URL of apnsd?"
        assert str(caught.value) == f"{stub.url} answered {status}{end}"


def test_a_user_over_its_limits_costs_no_settings_and_no_provision(open_client: OpenClient) -> None:
    busy = http(b"Over the limit.", "429 Too Many Requests")
    with Stub(busy, busy, answer(None)) as stub:
        client = open_client(stub.url, apps=PEM)
        with pytest.raises(apnsd.ServerTimeout):
            client.notify("myapp", "aa", HELLO)
        with pytest.raises(apnsd.ServerTimeout):
            client.deprovision("myapp")
        client.notify("myapp", "aa", HELLO)
        assert [method for method, _ in stub.calls()] == ["provision", "apnsd.deprovision", "provision", "notify"]


DEEP = b"<value><array><data>" * 100_000 + b"</data></array></value>" * 100_000


def test_an_http_error_before_the_end_of_the_request_is_told(open_client: OpenClient) -> None:
    with Stub(http(b"Too large.", "413 Payload Too Large", "Connection: close\r\n")) as stub:
        stub.is_hasty = True
        with pytest.raises(apnsd.InvalidArguments, match="answered 413 Payload Too Large: Too large"):
            open_client(stub.url).call("system.x", "x" * 20_000_000)
        assert len(stub.requests) == 1


def test_an_answer_of_another_shape_is_told(open_client: OpenClient) -> None:
    for value in (7, [7], "text"):
        with Stub(answer(value)) as stub, pytest.raises(apnsd.ConnectionFailed, match="is not apnsd"):
            open_client(stub.url).apps()
        with Stub(answer(value)) as stub, pytest.raises(apnsd.ConnectionFailed, match="is not apnsd"):
            open_client(stub.url).status("myapp")


GARBAGE = {
    "not HTTP": b"garbage\r\n\r\n",
    "nothing": http(b""),
    "a web page": http(b"<html>It works!</html>"),
    "not text": http(b"\xff\xfe\x00"),
    "cut off": http(xml([1])[:-20]),
    "a document type": http(xml([]).replace(b"<methodResponse>", b"<!DOCTYPE methodResponse><methodResponse>")),
    "a document type in UTF-16": http(xml([]).decode().replace("<methodR", "<!DOCTYPE m><methodR").encode("utf-16")),
    "deeper than 64": http(
        xml([])
        .replace(b"<array>", b"<array><data><value>" * 70 + b"<array>")
        .replace(b"</array>", b"</array>" + b"</value></data></array>" * 70)
    ),
    "deep": http(b"<methodResponse><params><param>" + DEEP + b"</param></params></methodResponse>"),
    "a number that is none": http(xml(1).replace(b"1<", b"x<")),
    "no value": http(b"<methodResponse><params></params></methodResponse>"),
    "a fault without a code": http(
        xml({"faultCode": "x", "faultString": 1}).replace(b"params", b"fault").replace(b"<param>", b"")
    ),
    "text": answer("text"),
    "numbers": answer([1]),
    "no time": answer([["yesterday", "ab"]]),
    "nil": answer(None),
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_an_answer_that_the_daemon_would_not_give_is_told(open_client: OpenClient, garbage: str) -> None:
    with Stub(GARBAGE[garbage]) as stub:
        with pytest.raises(apnsd.ConnectionFailed, match=r"is not apnsd .*: is this the URL of apnsd\?$"):
            open_client(stub.url).feedback("myapp")
        assert len(stub.requests) == 1


def test_a_chunked_answer_is_understood(open_client: OpenClient) -> None:
    body = xml([])
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    with Stub(chunked) as stub:
        client = open_client(stub.url)
        assert client.apps() == client.apps() == []
        assert stub.connections == 1


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(open_client: OpenClient) -> None:
    last = b"HTTP/1.1 200 OK\r\n\r\n" + xml([])
    with Stub(answer([]), last, answer([])) as stub:
        client = open_client(stub.url)
        for _ in range(4):
            assert client.apps() == []
        assert (len(stub.requests), stub.connections) == (4, 2)


def test_a_call_whose_connection_breaks_is_repeated_once_on_a_new_one(open_client: OpenClient) -> None:
    with Stub(answer(None), CLOSE, answer(None), CLOSE) as stub:
        client = open_client(stub.url)
        client.notify("myapp", "aa", HELLO)
        client.notify("myapp", "bb", HELLO)
        assert stub.requests[1][1] == stub.requests[2][1]
        assert stub.connections == 2
        with pytest.raises(apnsd.ConnectionFailed, match=f"the connection to {stub.url} broke: ") as caught:
            client.notify("myapp", "cc", HELLO)
        assert len(stub.requests) == 5
        assert caught.value.request_id == stub.calls()[4][1][3]["request_id"]


def test_any_other_method_is_not_repeated(open_client: OpenClient) -> None:
    with Stub(CLOSE, answer(3)) as stub:
        client = open_client(stub.url)
        with pytest.raises(apnsd.ConnectionFailed, match="broke"):
            client.call("apnsd.purge", "myapp")
        assert client.call("apnsd.purge", "myapp") == 3
        assert stub.calls() == [("apnsd.purge", ("myapp",))] * 2


def test_a_call_without_an_answer_in_time_is_not_repeated(open_client: OpenClient) -> None:
    asked = threading.Semaphore(0)
    with Stub(SILENCE) as stub:
        stub.before_answer = lambda _: asked.release()
        with pytest.raises(apnsd.ConnectionFailed) as caught:
            open_client(stub.url, timeout=0.3).notify("myapp", "aa", HELLO, request_id="r")
        assert str(caught.value) == f"{stub.url} gave no answer within 0.3 seconds"
        assert caught.value.request_id == "r"
        assert asked.acquire(timeout=PATIENCE)
        assert len(stub.requests) == 1


def test_a_deprovision_that_is_made_again_finds_its_work_done(open_client: OpenClient) -> None:
    with Stub(CLOSE, fault(404, "unknown"), fault(404, "unknown")) as stub:
        client = open_client(stub.url, apps=PEM)
        client.deprovision("myapp")
        with pytest.raises(apnsd.NotConfigured):
            client.provision("myapp")
        with pytest.raises(apnsd.UnknownAppID):
            client.deprovision("myapp")


def test_what_the_daemon_was_asked_to_wait_comes_on_top(open_client: OpenClient) -> None:
    asked = threading.Semaphore(0)
    with Stub(SILENCE) as stub:
        stub.before_answer = lambda _: asked.release()
        client = open_client(stub.url, timeout=0.2)
        with pytest.raises(apnsd.ConnectionFailed, match=r"gave no answer within 0\.5 seconds"):
            client.send("myapp", "aa", HELLO, timeout=0.3)
        with pytest.raises(apnsd.ConnectionFailed, match=r"gave no answer within 0\.3 seconds"):
            client.provision("myapp", "PEM", "sandbox", 0.1)
        assert asked.acquire(timeout=PATIENCE)
        assert stub.calls()[0][1][3]["timeout"] == 0.3


def test_a_wait_that_is_none_is_refused(open_client: OpenClient) -> None:
    with pytest.raises(apnsd.InvalidArguments, match="timeout: a number of seconds more than 0 is needed, not None"):
        open_client("http://127.0.0.1:1/").send("myapp", "aa", HELLO, timeout=None)


def test_nobody_who_listens_is_told_with_the_address(open_client: OpenClient) -> None:
    with Stub(SILENCE) as stub:
        url = stub.url
    with pytest.raises(apnsd.ConnectionFailed, match=f"no connection to {url}: .*; is the daemon running"):
        open_client(url).apps()
    with pytest.raises(apnsd.ConnectionFailed, match=r"no connection to unix:/nowhere/apnsd\.sock"):
        open_client("unix:/nowhere/apnsd.sock").apps()


@pytest.mark.parametrize("character", ["\x00", "\ud800", "\uffff"])
def test_what_xml_cannot_carry_is_refused(open_client: OpenClient, character: str) -> None:
    with pytest.raises(apnsd.InvalidArguments, match=r"the character U\+[0-9A-F]{4} cannot be sent"):
        open_client("http://127.0.0.1:1/").notify("myapp", "aa" + character, HELLO)


@pytest.mark.parametrize("value", [object(), 2**40, {1: 2}])
def test_what_xml_rpc_has_no_type_for_is_refused(open_client: OpenClient, value: object) -> None:
    with pytest.raises(apnsd.InvalidArguments, match=r"system\.x: "):
        open_client("http://127.0.0.1:1/").call("system.x", value)


def test_a_carriage_return_arrives(open_client: OpenClient) -> None:
    with Stub(answer(None)) as stub:
        open_client(stub.url).call("system.x", "a\r\nb")
        assert stub.calls() == [("system.x", ("a\r\nb",))]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's context, and the certificate that vouches for it."""
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=apnsd"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


def test_https_is_spoken_with_who_can_be_trusted(open_client: OpenClient, tls: tuple[ssl.SSLContext, Path]) -> None:
    context, certificate = tls
    with Stub(answer([]), context=context) as stub:
        client = open_client(stub.url, ssl_context=ssl.create_default_context(cafile=str(certificate)))
        assert client.apps() == client.apps() == []
        assert stub.connections == 1


def test_a_server_that_nobody_vouches_for_is_refused(open_client: OpenClient, tls: tuple[Any, Path]) -> None:
    with Stub(answer([]), context=tls[0]) as stub:
        with pytest.raises(apnsd.ConnectionFailed, match=f"no TLS connection to {stub.url}: .*CERTIFICATE_VERIFY"):
            open_client(stub.url).apps()
        assert stub.requests == []


def test_a_call_after_close_opens_a_new_connection(open_client: OpenClient) -> None:
    with Stub(answer([])) as stub:
        client = open_client(stub.url)
        client.apps()
        client.close()
        client.apps()
        assert stub.connections == 2
