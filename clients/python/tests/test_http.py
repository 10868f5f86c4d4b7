"""Responses are read byte by byte, and what is no response is refused."""

from __future__ import annotations

import pytest

import apnsd
from apnsd._http import Response

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;extension\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
)


def read(data: bytes, step: int = 1) -> Response:
    response = Response()
    for start in range(0, len(data), step):
        assert not response.complete
        response.feed(data[start : start + step])
    return response


@pytest.mark.parametrize("data", [WHOLE, CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_response_is_complete_with_its_last_byte(data: bytes, step: int) -> None:
    response = read(data, step)
    assert (response.complete, response.status, response.body, response.reusable) == (True, 200, b"hello", True)


def test_a_response_without_a_length_ends_with_its_connection() -> None:
    response = read(b"HTTP/1.1 502 Bad Gateway\r\n\r\nsorry")
    assert not response.complete
    response.end()
    assert (response.complete, response.status, response.phrase) == (True, 502, "Bad Gateway")
    assert (response.body, response.reusable) == (b"sorry", False)


def test_a_response_that_ends_early_is_never_complete() -> None:
    for length in range(len(WHOLE)):
        response = read(WHOLE[:length])
        response.end()
        assert not response.complete


def test_a_connection_is_not_used_again_after_more_than_was_asked_for() -> None:
    assert not read(WHOLE + b"x", 1000).reusable
    response = read(WHOLE)
    response.feed(b"HTTP/1.1 408 Request Timeout\r\n")
    assert not response.reusable


@pytest.mark.parametrize(
    "head",
    ["HTTP/1.1 200 OK\r\nConnection: close\r\n", "HTTP/1.0 200 OK\r\n"],
)
def test_a_connection_that_the_server_closes_is_not_used_again(head: str) -> None:
    assert not read(head.encode() + b"Content-Length: 0\r\n\r\n").reusable


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it does not speak HTTP/1.1 .it answered 'SSH-2.0-OpenSSH_9.2'"),
        (b"HTTP/1.1 \xb2\xb3\xb9 OK\r\n\r\n", "it does not speak HTTP/1.1"),
        (b"\x16\x03\x01" * 10_000, "a header has no end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "a length is '-1'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "its answer is larger than 64 MiB"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "a length is 'xyz'"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n", "larger than 64 MiB"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000, "its answer has too many headers"),
    ],
)
def test_what_is_no_response_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(apnsd.ConnectionFailed, match=problem):
        read(data, 1000)
