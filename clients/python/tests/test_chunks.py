"""Any number of tokens is cut into calls, with what goes with each of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import apnsd
from apnsd._address import Address
from apnsd._chunks import WEIGHT_MAX, Chunk, chunks
from apnsd._xmlrpc import encode_call
from apnsd.times import unix_time

HELLO: dict[str, Any] = {"aps": {}}
JSON = '{"aps":{}}'


def cut(tokens: object, notifications: object = HELLO, size: int = 2, **options: object) -> list[tuple[Any, ...]]:
    return [
        (chunk.tokens, chunk.notifications, chunk.options)
        for chunk in chunks(tokens, notifications, options, "r", size)
    ]


def test_the_only_chunk_has_the_plain_request_id() -> None:
    assert cut("aa") == [(["aa"], JSON, {"request_id": "r"})]
    assert cut(["aa", "bb"]) == [(["aa", "bb"], JSON, {"request_id": "r"})]


def test_the_first_chunk_has_the_plain_request_id_and_the_others_are_numbered() -> None:
    assert cut(["aa", "bb", "cc", "dd", "ee"]) == [
        (["aa", "bb"], JSON, {"request_id": "r"}),
        (["cc", "dd"], JSON, {"request_id": "r-1"}),
        (["ee"], JSON, {"request_id": "r-2"}),
    ]


@pytest.mark.parametrize("alert", ["漢" * 1300, "&" * 4000, "a" * 4000, "<>\r" * 1300])
def test_a_chunk_is_no_more_than_a_call_can_carry(alert: str) -> None:
    tokens = [f"{number:064x}" for number in range(10_000)]
    sent: list[str] = []
    for chunk in chunks(
        iter(tokens), ({"aps": {"alert": alert}} for _ in tokens), {"priority": [5] * 10_000}, "r", 10_000
    ):
        size = len(encode_call(Address.of("http://x/"), "notify", chunk.params("myapp")))
        assert size <= 16 * 1024 * 1024
        if len(sent) + len(chunk.tokens) < len(tokens):
            assert size > 15 * 1024 * 1024
        sent += chunk.tokens
    assert sent == tokens


def test_what_is_larger_than_a_call_goes_out_by_itself() -> None:
    large = {"a": "x" * WEIGHT_MAX}
    assert [len(chunk.tokens) for chunk in chunks(["aa"] * 3, [HELLO, large, HELLO], {}, "r", 10)] == [1, 1, 1]


def test_no_tokens_are_no_chunk() -> None:
    assert cut([]) == []
    assert cut(iter(()), []) == []


def test_bytes_are_a_token_in_hex() -> None:
    assert cut(b"\x01\xab")[0][0] == ["01ab"]
    assert cut([bytearray(b"\x01"), memoryview(b"\x02")])[0][0] == ["01", "02"]


def test_bytes_of_hex_are_that_hex() -> None:
    assert cut([b"aB" * 32, memoryview(b"01"), b"abc"], size=3)[0][0] == ["aB" * 32, "01", "616263"]


def test_options_and_notifications_are_cut_along_with_the_tokens() -> None:
    cuts = cut(
        (token for token in ("aa", "bb", "cc")),
        ({"n": number} for number in range(3)),
        priority=[10, 5, 1],
        topic="t",
        push_type=None,
    )
    assert cuts == [
        (["aa", "bb"], ['{"n":0}', '{"n":1}'], {"request_id": "r", "priority": [10, 5], "topic": "t"}),
        (["cc"], ['{"n":2}'], {"request_id": "r-1", "priority": [1], "topic": "t"}),
    ]


def test_a_generator_is_read_one_token_ahead_and_no_further() -> None:
    read: list[str] = []

    def tokens() -> Iterator[str]:
        for token in ("aa", "bb", "cc", "dd", "ee"):
            read.append(token)
            yield token

    first: Chunk = next(chunks(tokens(), HELLO, {}, "r", 2))
    assert first.tokens == ["aa", "bb"]
    assert read == ["aa", "bb", "cc"]


def test_the_length_of_a_query_is_not_asked_for() -> None:
    class Query:
        def __iter__(self) -> Iterator[str]:
            return iter(["aa"])

        def __len__(self) -> int:
            raise AssertionError("this would run the query")

    assert cut(Query())[0][0] == ["aa"]


@pytest.mark.parametrize(
    ("tokens", "notifications", "problem"),
    [
        (["aa", "bb", "cc"], [HELLO], "notifications: 1 for 3 tokens"),
        ("aa", [HELLO, HELLO], "notifications: 2 for 1 tokens"),
        ([], [HELLO], "notifications: 1 for 0 tokens"),
        (7, HELLO, "tokens: text, bytes or an iterable of them is needed, not int"),
        (["aa", None], HELLO, "token 1: text or bytes is needed, not NoneType"),
        (["aa", "bb"], [HELLO, 7], "notification 1: a Notification, a dict"),
        ("aa", None, "notification 0: a Notification, a dict"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_the_first_chunk(
    tokens: object, notifications: object, problem: str
) -> None:
    with pytest.raises(apnsd.InvalidArguments, match=problem):
        next(chunks(tokens, notifications, {}, "r", 2))


def test_options_of_another_length_are_refused_before_the_first_chunk() -> None:
    with pytest.raises(apnsd.InvalidArguments, match="priority: 2 for 3 tokens"):
        next(chunks(["aa", "bb", "cc"], HELLO, {"priority": [5, 5]}, "r", 2))


def test_a_generator_of_another_length_is_refused_where_the_shorter_ends() -> None:
    short = chunks(iter(["aa", "bb", "cc"]), iter([HELLO, HELLO]), {}, "r", 2)
    assert next(short).tokens == ["aa", "bb"]
    with pytest.raises(apnsd.InvalidArguments, match="they end after 2, before the tokens"):
        next(short)
    long = chunks(iter(["aa", "bb", "cc"]), iter([HELLO] * 4), {}, "r", 2)
    assert next(long).tokens == ["aa", "bb"]
    with pytest.raises(apnsd.InvalidArguments, match="there are more than the 3 tokens"):
        next(long)


def test_an_expiration_is_unix_seconds_whatever_was_given() -> None:
    noon = datetime(2030, 1, 1, 13, tzinfo=timezone(timedelta(hours=1)))
    assert cut("aa", expiration=noon)[0][2]["expiration"] == 1_893_499_200
    assert cut(["aa", "bb"], expiration=[0, noon])[0][2]["expiration"] == [0, 1_893_499_200]
    now = int(datetime.now(timezone.utc).timestamp())
    in_an_hour = unix_time(timedelta(hours=1))
    assert isinstance(in_an_hour, int)
    assert now + 3600 <= in_an_hour <= now + 3600 + 60


def test_an_expiration_beyond_the_ints_of_xml_rpc_is_a_time_in_utc() -> None:
    assert unix_time(2**31 - 1) == 2**31 - 1
    assert unix_time(2**31) == datetime(2038, 1, 19, 3, 14, 8)


@pytest.mark.parametrize("expiration", [datetime(2030, 1, 1), "tomorrow", 1.5, 10**20])
def test_an_expiration_that_means_no_point_in_time_is_refused(expiration: object) -> None:
    with pytest.raises(apnsd.InvalidArguments, match="expiration: "):
        cut("aa", expiration=expiration)
