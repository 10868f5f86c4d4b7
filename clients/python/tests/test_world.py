"""The verbs, against the real daemon on the simulator. (The stories of `behaviour.toml` tell more.)"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from conftest import OpenClient
from world import World

import apnsd

HELLO = apnsd.Notification("Hello")
_numbers = count(1)


def token(start: str = "") -> str:
    """A device token that no other test has."""
    return f"{start}{next(_numbers):08x}".ljust(64, "0")


def arrivals(world: World, tokens: list[str], before: int) -> list[dict[str, Any]]:
    """What arrived for these tokens since so many notifications had arrived."""
    arrived = world.wait_arrived(before + len(tokens))[before:]
    return sorted(
        (entry for entry in arrived if entry["token"] in tokens), key=lambda entry: tokens.index(entry["token"])
    )


def test_what_is_accepted_arrives(open_client: OpenClient, world: World, apps: dict[str, Any]) -> None:
    before = len(world.arrived())
    tokens = [token("aa"), token("aa"), token("aa")]
    client = open_client(world.url, apps=apps)
    client.notify("myapp", bytes.fromhex(tokens[0]), HELLO)
    client.notify("myapp", iter(tokens[1:]), [{"aps": {"badge": 1}}, '{"aps": {"badge": 2}}'], priority=[10, 5])
    payloads = [entry["payload"] for entry in arrivals(world, tokens, before)]
    assert payloads == [{"aps": {"alert": "Hello"}}, {"aps": {"badge": 1}}, {"aps": {"badge": 2}}]


def test_every_kind_of_certificate_is_taken(open_client: OpenClient, world: World) -> None:
    client = open_client(world.url)
    pem = Path(world.certificate)
    for name, certificate in {"text": pem.read_text(), "bytes": pem.read_bytes(), "file": pem}.items():
        client.provision(name, certificate, "sandbox")
        assert client.status(name)["subject"] == "Apple Push Services: com.example.app"
    key = {"key_id": "SIMULATOR1", "team_id": "SIMTEAM001", "topic": "com.example.app"}
    client.provision("key", None, "sandbox", certificate_file=world.key, **key)
    assert [result.outcome for result in client.send("key", token("aa"), HELLO)] == ["accepted"]
    for name in ("text", "bytes", "file", "key"):
        client.deprovision(name)


def test_all_that_goes_with_a_notification_is_taken(
    open_client: OpenClient, world: World, apps: dict[str, Any]
) -> None:
    client = open_client(world.url, apps=apps)
    later = datetime.now(timezone.utc) + timedelta(days=1)
    tokens = [token("aa"), token("aa")]
    results = client.send(
        "myapp",
        tokens,
        HELLO,
        expiration=[later, datetime(2050, 1, 1, tzinfo=timezone.utc)],
        priority=5,
        collapse_id=["a", "b"],
        push_type="alert",
        topic="com.example.app",
    )
    assert [(result.token, result.outcome) for result in results] == [(name, "accepted") for name in tokens]


def test_send_tells_what_became_of_each(open_client: OpenClient, world: World, apps: dict[str, Any]) -> None:
    client = open_client(world.url, apps=apps)
    good, bad, dead = client.send("myapp", [token("aa"), token("bad8"), token("dead")], HELLO)
    assert (good.outcome, good.status, good.reason, good.retry) == ("accepted", None, None, False)
    assert len(good.id) == 36
    assert (bad.outcome, bad.status, bad.reason) == ("rejected", 400, "BadDeviceToken")
    assert (dead.outcome, dead.status, dead.reason) == ("rejected", 410, "Unregistered")
    assert dead.timestamp.tzinfo is timezone.utc


def test_dead_tokens_are_told_once_or_again(open_client: OpenClient, world: World, apps: dict[str, Any]) -> None:
    client = open_client(world.url, apps=apps)
    client.feedback("myapp")
    before = client.feedback_after("myapp").cursor
    dead = token("dead")
    client.send("myapp", dead, HELLO)
    ((when, found),) = client.feedback("myapp")
    assert (found, when.tzinfo) == (dead, timezone.utc)
    assert client.feedback("myapp") == []
    assert client.feedback_after("myapp", None).entries[-1] == client.feedback_after("myapp", "").entries[-1]
    page = client.feedback_after("myapp", before)
    assert page.entries == [(when, dead)]
    assert client.feedback_after("myapp", page.cursor) == apnsd.Page([], page.cursor)


def test_rejections_are_told_behind_a_cursor(open_client: OpenClient, world: World, apps: dict[str, Any]) -> None:
    client = open_client(world.url, apps=apps)
    before = client.rejections("myapp").cursor
    bad = [token("bad8"), token("bad8")]
    client.send("myapp", bad, HELLO)
    assert client.rejections("myapp", None) == client.rejections("myapp", "") == client.rejections("myapp")
    page = client.rejections("myapp", before)
    assert [(entry.token, entry.reason, entry.status, entry.row) for entry in page.entries] == [
        (bad[0], "BadDeviceToken", 400, 0),
        (bad[1], "BadDeviceToken", 400, 1),
    ]
    assert page.entries[0].timestamp.tzinfo is timezone.utc
    assert client.rejections("myapp", page.cursor) == apnsd.Page([], page.cursor)


def test_any_other_method_can_be_called(open_client: OpenClient, world: World, apps: dict[str, Any]) -> None:
    client = open_client(world.url, apps=apps)
    client.configure()
    assert client.call("apnsd.pause", "myapp") is True
    assert client.status("myapp")["state"] == "paused"
    assert client.call("apnsd.resume", "myapp") is True
    with pytest.raises(apnsd.ApnsdError) as caught:
        client.call("nosuch")
    assert (type(caught.value), caught.value.code) == (apnsd.ApnsdError, 8001)


def test_configure_tells_the_first_failure_after_all_were_tried(open_client: OpenClient, world: World) -> None:
    client = open_client(world.url)
    wrong = {"certificate_file": world.certificate, "environment": "moon"}
    right = {"certificate_file": world.certificate, "environment": "sandbox"}
    with pytest.raises(apnsd.InvalidEnvironment, match="moon"):
        client.configure({"first": wrong, "second": {**wrong, "environment": "mars"}, "third": right})
    assert "third" in [app["app_id"] for app in client.apps()]
    client.deprovision("third")


def test_nothing_to_work_with_is_an_error_of_its_own(open_client: OpenClient, world: World) -> None:
    client = open_client(world.url)
    for verb, *arguments in (("configure",), ("configure", {}), ("provision", "nosuch")):
        with pytest.raises(apnsd.NotConfigured) as caught:
            getattr(client, verb)(*arguments)
        assert caught.value.code is None


def test_a_deprovisioned_app_is_not_provisioned_again(
    open_client: OpenClient, world: World, apps: dict[str, Any]
) -> None:
    client = open_client(world.url, apps=apps)
    client.configure()
    client.deprovision("myapp")
    with pytest.raises(apnsd.UnknownAppID):
        client.notify("myapp", token("aa"), HELLO)
    with pytest.raises(apnsd.UnknownAppID):
        client.deprovision("myapp")


def test_an_app_that_only_the_client_forgot_still_works(
    open_client: OpenClient, world: World, apps: dict[str, Any]
) -> None:
    open_client(world.url, apps=apps).configure()
    other = open_client(world.url)
    assert [result.outcome for result in other.send("myapp", token("aa"), HELLO)] == ["accepted"]


def test_a_daemon_that_lost_its_state_is_told_of_the_app_again(
    open_client: OpenClient, world: World, apps: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "apnsd")
    client = open_client(world.url, apps=apps)
    client.configure()
    before, found = len(world.arrived()), token("aa")
    world.kill()
    world.forget()
    world.start()
    client.notify("myapp", found, HELLO)
    assert [entry["token"] for entry in arrivals(world, [found], before)] == [found]
    assert caplog.messages == ["app myapp was not known to the daemon and was provisioned again"]
    world.kill()
    world.forget()
    world.start()
    assert client.feedback("myapp") == []


def test_a_lost_answer_sends_nothing_twice(open_client: OpenClient, world: World, apps: dict[str, Any]) -> None:
    client = open_client(world.proxy_url, apps=apps)
    client.configure()
    before, tokens = len(world.arrived()), [token("aa"), token("aa")]
    world.proxy.lose_answers(1)
    client.notify("myapp", tokens[0], HELLO)
    world.proxy.lose_answers(2)
    with pytest.raises(apnsd.ConnectionFailed) as caught:
        client.notify("myapp", tokens[1], HELLO)
    client.notify("myapp", tokens[1], HELLO, request_id=caught.value.request_id)
    client.send("myapp", last := token("aa"), HELLO)
    assert [entry["token"] for entry in arrivals(world, [*tokens, last], before)] == [*tokens, last]


def test_a_lost_answer_loses_no_feedback(open_client: OpenClient, world: World, apps: dict[str, Any]) -> None:
    client = open_client(world.proxy_url, apps=apps)
    client.feedback("myapp")
    first, second = token("dead"), token("dead")
    client.send("myapp", first, HELLO)
    world.proxy.lose_answers(1)
    assert [found for _, found in client.feedback("myapp")] == [first]
    client.send("myapp", second, HELLO)
    world.proxy.lose_answers(2)
    with pytest.raises(apnsd.ConnectionFailed) as caught:
        client.feedback("myapp")
    assert caught.value.request_id
    assert [found for _, found in client.feedback("myapp", request_id=caught.value.request_id)] == [second]
    assert client.feedback("myapp") == []


def test_a_long_list_arrives_whole_and_once(open_client: OpenClient, world: World, apps: dict[str, Any]) -> None:
    client = open_client(world.url, apps=apps)
    before, tokens = len(world.arrived()), [token("aa") for _ in range(2001)]
    results = client.send("myapp", (name for name in tokens), HELLO, request_id=tokens[0])
    assert [result.token for result in results] == tokens
    again = client.send("myapp", tokens, HELLO, request_id=tokens[0])
    assert {result.outcome for result in again} == {"repeated"}
    assert [entry["token"] for entry in arrivals(world, tokens, before)] == tokens


def test_a_call_whose_tokens_end_in_an_error_can_be_made_again(
    open_client: OpenClient, world: World, apps: dict[str, Any]
) -> None:
    client = open_client(world.url, apps=apps)
    before, tokens = len(world.arrived()), [token("aa") for _ in range(1500)]

    def broken() -> Iterator[str]:
        yield from tokens[:1200]
        raise LookupError("the database is gone")

    with pytest.raises(LookupError, match=r"^the database is gone$"):
        client.send("myapp", broken(), HELLO, request_id=tokens[0])
    outcomes = [result.outcome for result in client.send("myapp", iter(tokens), HELLO, request_id=tokens[0])]
    assert outcomes == ["repeated"] * 1000 + ["accepted"] * 500
    assert [entry["token"] for entry in arrivals(world, tokens, before)] == tokens


def test_the_error_of_a_call_that_an_iterable_makes_is_its_own(
    open_client: OpenClient, world: World, apps: dict[str, Any]
) -> None:
    inner = apnsd.Client(world.url)

    def tokens() -> Iterator[str]:
        inner.notify("nosuch", token("aa"), HELLO, request_id="inner")
        yield token("aa")

    with inner, pytest.raises(apnsd.UnknownAppID) as caught:
        open_client(world.url, apps=apps).notify("myapp", tokens(), HELLO, request_id="outer")
    assert caught.value.request_id == "inner"


def test_a_failure_far_down_a_long_list_tells_how_many_were_accepted(
    open_client: OpenClient, world: World, apps: dict[str, Any]
) -> None:
    client = open_client(world.url, apps=apps)
    tokens = [token("aa") for _ in range(1000)]
    with pytest.raises(apnsd.InvalidArguments) as caught:
        client.send("myapp", [*tokens, "no token"], HELLO, request_id=tokens[0])
    assert (caught.value.code, caught.value.accepted, caught.value.request_id) == (8002, 1000, tokens[0])
    with pytest.raises(apnsd.InvalidArguments) as caught:
        client.send("myapp", iter([*tokens, token("aa")]), iter([HELLO] * 1000))
    assert (caught.value.code, caught.value.accepted) == (None, 1000)


def test_a_first_use_that_fails_does_not_stand_in_the_way(
    open_client: OpenClient, world: World, apps: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    open_client(world.url, apps=apps).configure()
    stale = {"myapp": {"certificate_file": world.expired_certificate, "environment": "sandbox"}}
    client = open_client(world.url, apps=stale)
    assert [result.outcome for result in client.send("myapp", token("aa"), HELLO)] == ["accepted"]
    (message,) = caplog.messages
    assert message.startswith("app myapp could not be provisioned before its first use: certificate `Apple Push")
    caplog.clear()
    client.send("myapp", token("aa"), HELLO)
    assert caplog.messages == []


def test_a_first_use_that_found_no_daemon_is_made_up_for(
    open_client: OpenClient, world: World, apps: dict[str, Any]
) -> None:
    open_client(world.url, apps=apps).configure()
    newer = {"myapp": {"certificate_file": world.second_certificate, "environment": "sandbox"}}
    client = open_client(world.url, apps=newer)
    world.kill()
    try:
        with pytest.raises(apnsd.ConnectionFailed):
            client.notify("myapp", token("aa"), HELLO)
    finally:
        world.start()
    client.notify("myapp", token("aa"), HELLO)
    assert client.status("myapp")["subject"] == "Apple Production IOS Push Services: com.example.app"
    client.deprovision("myapp")


def test_an_app_that_neither_knows_is_told_with_those_that_the_client_has(
    open_client: OpenClient, world: World, apps: dict[str, Any]
) -> None:
    unknown = "The app_id specified has not been provisioned."
    advice = "This client has no settings for `mine`: give them as one of its apps, or provision it."
    named = {
        0: f"{unknown} {advice}",
        2: f"{unknown} {advice} It has those of `app0`, `app1`.",
        6: f"{unknown} {advice}",
    }
    for count_of_apps, text in named.items():
        client = open_client(world.url, apps={f"app{number}": apps["myapp"] for number in range(count_of_apps)})
        for call in (client.notify, client.send):
            with pytest.raises(apnsd.UnknownAppID) as caught:
                call("mine", token("aa"), HELLO, request_id="r")
            assert (str(caught.value), caught.value.code, caught.value.request_id) == (text, 404, "r")
        with pytest.raises(apnsd.UnknownAppID, match="This client has no settings for `mine`"):
            client.feedback("mine")


def test_the_unix_socket_is_as_good(open_client: OpenClient, world: World, apps: dict[str, Any]) -> None:
    client = open_client(f"unix:{world.socket}", apps=apps)
    assert [result.outcome for result in client.send("myapp", token("aa"), HELLO)] == ["accepted"]
    world.restart()
    assert [result.outcome for result in client.send("myapp", token("aa"), HELLO)] == ["accepted"]


def test_https_where_the_daemon_has_no_tls_asks_for_the_url(open_client: OpenClient, world: World) -> None:
    with pytest.raises(apnsd.ConnectionFailed, match=r"^no TLS connection to https://.*; is this the URL of apnsd\?$"):
        open_client(world.url.replace("http:", "https:")).apps()


def test_calls_share_a_connection(open_client: OpenClient, world: World, apps: dict[str, Any]) -> None:
    before = world.proxy.connections
    client = open_client(world.proxy_url, apps=apps)
    client.notify("myapp", token("aa"), HELLO)
    with pytest.raises(apnsd.UnknownAppID):
        client.status("nosuch")
    client.send("myapp", token("aa"), HELLO)
    assert world.proxy.connections == before + 1


@pytest.mark.parametrize("verb", ["provision", "configure"])
def test_settings_that_are_refused_do_not_replace_those_that_work(
    open_client: OpenClient, world: World, apps: dict[str, Any], verb: str
) -> None:
    client = open_client(world.url, apps=apps)
    client.configure()
    for wrong in (
        {"certificate_file": world.expired_certificate, "environment": "sandbox"},
        {"certificate_file": world.certificate, "environment": "moon"},
        {"certificate_file": "/nowhere.pem", "environment": "sandbox"},
    ):
        with pytest.raises((apnsd.InvalidArguments, apnsd.InvalidEnvironment)):
            client.provision("myapp", **wrong) if verb == "provision" else client.configure({"myapp": wrong})
    world.kill()
    world.forget()
    world.start()
    assert [result.outcome for result in client.send("myapp", token("aa"), HELLO)] == ["accepted"]


def test_settings_that_are_refused_tell_later_calls_the_reason_where_there_are_no_others(
    open_client: OpenClient, world: World
) -> None:
    client = open_client(world.url)
    with pytest.raises(apnsd.InvalidEnvironment, match="moon"):
        client.provision("late", world.certificate, "moon")
    with pytest.raises(apnsd.InvalidEnvironment, match="moon"):
        client.notify("late", token("aa"), HELLO)


def test_settings_that_found_no_daemon_are_kept(open_client: OpenClient, world: World, apps: dict[str, Any]) -> None:
    client = open_client(world.url, apps=apps)
    client.configure()
    world.kill()
    with pytest.raises(apnsd.ConnectionFailed):
        client.provision("myapp", certificate_file=world.second_certificate, environment="sandbox")
    world.forget()
    world.start()
    client.notify("myapp", token("aa"), HELLO)
    assert client.status("myapp")["subject"] == "Apple Production IOS Push Services: com.example.app"
    client.deprovision("myapp")
