"""Where the daemon is: URLs."""

from __future__ import annotations

import pytest

import apnsd
from apnsd._address import Address
from apnsd._http import request


def test_without_a_url_the_environment_counts_and_then_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APNSD_URL", "http://push.example:7078/")
    assert Address.of(None).url == "http://push.example:7078/"
    monkeypatch.setenv("APNSD_URL", "")
    assert Address.of(None).url == "http://127.0.0.1:7077/"
    monkeypatch.delenv("APNSD_URL")
    assert Address.of(None).url == "http://127.0.0.1:7077/"


def test_a_request_has_what_the_daemon_needs_and_nothing_else() -> None:
    assert request(Address.of("http://127.0.0.1:7077"), b"body") == (
        b"POST / HTTP/1.1\r\n"
        b"Host: 127.0.0.1:7077\r\n"
        b"User-Agent: apnsd-python/0.1.0\r\n"
        b"Content-Type: text/xml\r\n"
        b"Content-Length: 4\r\n"
        b"\r\n"
        b"body"
    )


def test_user_and_password_are_sent_and_never_shown() -> None:
    address = Address.of("https://me:p%40ss@push.example/a%20b?c=d")
    head = request(address, b"").decode()
    assert "POST /a%20b?c=d HTTP/1.1\r\nHost: push.example\r\n" in head
    assert "Authorization: Basic bWU6cEBzcw==\r\n" in head
    assert (address.host, address.port, address.tls) == ("push.example", 443, True)
    assert str(address) == "https://push.example/a%20b?c=d"
    assert "p%40ss" not in repr(address)
    assert "bWU6" not in repr(address)


def test_ports_and_addresses_are_understood() -> None:
    assert (Address.of("http://[::1]:7077/").host, Address.of("http://[::1]:7077/").port) == ("::1", 7077)
    assert Address.of("http://push.example").port == 80
    assert Address.of("unix:/run/apnsd/apnsd.sock").unix == "/run/apnsd/apnsd.sock"
    assert Address.of("unix:///run/apnsd/apnsd.sock").unix == "/run/apnsd/apnsd.sock"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("localhost:7077", "write http://host:port/"),
        ("", "write http://host:port/"),
        ("ftp://host/", "write http://host:port/"),
        ("http:///x", "write http://host:port/"),
        ("http://host:port/", "the daemon's URL: "),
        ("http://höst/", "only ASCII"),
        ("http://ho st/", "only ASCII"),
        ("unix:apnsd.sock", "a unix socket needs an absolute path"),
    ],
)
def test_a_url_that_cannot_work_is_refused_with_what_to_write(url: str, problem: str) -> None:
    with pytest.raises(apnsd.InvalidArguments, match=problem):
        apnsd.Client(url)


def test_a_timeout_is_more_than_nothing() -> None:
    with pytest.raises(apnsd.InvalidArguments, match="timeout: a number of seconds more than 0 is needed, not 0"):
        apnsd.Client(timeout=0)
