"""Notifications become JSON text, and only JSON."""

from __future__ import annotations

import json
from types import MappingProxyType

import pytest

import apnsd
from apnsd.notification import json_text


def test_a_notification_has_what_was_set_and_nothing_else() -> None:
    assert apnsd.Notification("Hi").payload() == {"aps": {"alert": "Hi"}}
    assert apnsd.Notification(badge=0).payload() == {"aps": {"badge": 0}}
    full = apnsd.Notification(
        alert={"title": "T"},
        badge=3,
        sound="chime",
        category="C",
        thread_id="t",
        content_available=True,
        mutable_content=True,
        custom={"order": 7},
    )
    assert full.payload() == {
        "aps": {
            "alert": {"title": "T"},
            "badge": 3,
            "sound": "chime",
            "category": "C",
            "thread-id": "t",
            "content-available": 1,
            "mutable-content": 1,
        },
        "order": 7,
    }


def test_aps_does_not_come_twice() -> None:
    with pytest.raises(apnsd.InvalidArguments, match="custom cannot hold `aps`"):
        json_text(apnsd.Notification("Hi", custom={"aps": {}}))


def test_a_dict_becomes_compact_json_that_any_xml_can_carry() -> None:
    payload = {"a": "\x00\x1f\ufffeü漢🎉", "n": None, "big": 2**70, "x": 1.5}
    text = json_text(payload)
    assert text == '{"a":"\\u0000\\u001f\\ufffeü漢🎉","n":null,"big":1180591620717411303424,"x":1.5}'
    assert json_text(MappingProxyType({"a": MappingProxyType({"b": 1})})) == '{"a":{"b":1}}'


def test_json_text_is_passed_as_it_is() -> None:
    assert json_text('{ "n": 1e2, "ü": 1.10 }') == '{ "n": 1e2, "ü": 1.10 }'
    assert json.loads(json_text('{"a": "\ufffe"}')) == {"a": "\ufffe"}


@pytest.mark.parametrize(
    ("notification", "problem"),
    [
        ("Hello", r'the text of a JSON object is needed; for a text to show write apnsd\.Notification\("Hello"\)$'),
        ("{Hello}", "not JSON"),
        ("[1]", "the text of a JSON object is needed"),
        ('{"a": NaN}', "NaN is not a number in JSON"),
        ({"a": float("nan")}, "not JSON"),
        ({"a": "\ud800"}, r"not JSON: half a character, U\+D800"),
        ('{"a": "\udfff"}', r"not JSON: half a character, U\+DFFF"),
        ({"a": b"bytes"}, "bytes has no form in JSON"),
        (None, "a Notification, a dict or the text of a JSON object is needed, not NoneType"),
        (b"{}", "not bytes"),
    ],
)
def test_what_is_no_json_is_refused(notification: object, problem: str) -> None:
    with pytest.raises(apnsd.InvalidArguments, match=problem):
        json_text(notification)


def test_nesting_without_end_is_refused() -> None:
    endless: dict[str, object] = {}
    endless["again"] = endless
    with pytest.raises(apnsd.InvalidArguments, match="not JSON"):
        json_text(endless)
