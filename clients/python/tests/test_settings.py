"""Settings of apps are checked when they are written down, and keep their secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import apnsd


def arguments(app: apnsd.App) -> tuple[object, ...]:
    return app.provision_arguments("myapp")


def test_an_app_is_provisioned_with_what_was_set_and_nothing_else() -> None:
    assert arguments(apnsd.App("PEM", environment="sandbox")) == ("myapp", "PEM", "sandbox", 15, {})
    app = apnsd.App(
        certificate=b"\x30\x82",
        environment="production",
        timeout=5,
        topic="com.example",
        key_id="K",
        team_id="T",
        passphrase="",
        connections=2,
        force=True,
        expiration=2_000_000_000,
        priority=5,
        collapse_id="c",
        push_type="alert",
    )
    options = {
        "topic": "com.example",
        "key_id": "K",
        "team_id": "T",
        "passphrase": "",
        "connections": 2,
        "force": True,
        "expiration": 2_000_000_000,
        "priority": 5,
        "collapse_id": "c",
        "push_type": "alert",
    }
    assert arguments(app) == ("myapp", b"\x30\x82", "production", 5, options)


def test_a_file_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "push.pem"
    file.write_bytes(b"old")
    apps = [
        apnsd.App(certificate_file=str(file), environment="sandbox"),
        apnsd.App(certificate=file, environment="sandbox"),
    ]
    assert [arguments(app)[1] for app in apps] == [b"old", b"old"]
    file.write_bytes(b"new")
    assert [arguments(app)[1] for app in apps] == [b"new", b"new"]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    app = apnsd.App(certificate_file=tmp_path / "nowhere.pem", environment="sandbox")
    with pytest.raises(apnsd.InvalidArguments, match=r"app myapp: the certificate file cannot be read: .*nowhere\.pem"):
        arguments(app)


def test_secrets_are_not_shown() -> None:
    shown = repr(apnsd.App("PRIVATE KEY", environment="sandbox", passphrase="sesame"))
    assert "environment='sandbox'" in shown
    assert "PRIVATE" not in shown
    assert "sesame" not in shown


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"environment": "sandbox"}, "app x: one of `certificate` and `certificate_file` is needed"),
        ({"certificate": "PEM", "certificate_file": "f", "environment": "sandbox"}, "app x: either .*, not both"),
        ({"certificate": "PEM"}, "app x: `environment` is needed"),
        ({"certificate": "PEM", "environment": "sandbox", "timeout": "5"}, "app x: timeout: a number of seconds more"),
        ("PEM", "app x: a dict of settings is needed, not str"),
        ({"certificate": "PEM", "env": "sandbox", "port": 1}, "app x: unknown settings env, port; there are certifi"),
    ],
)
def test_settings_that_cannot_work_are_named(settings: Any, problem: str) -> None:
    with pytest.raises(apnsd.InvalidArguments, match=problem):
        apnsd.Client("http://127.0.0.1:1/", apps={"x": settings})


def test_settings_come_by_app_id() -> None:
    apps: Any = [("x", apnsd.App("PEM", environment="sandbox"))]
    with pytest.raises(apnsd.InvalidArguments, match="apps: a dict with settings by app id is needed, not list"):
        apnsd.Client("http://127.0.0.1:1/", apps=apps)


def test_none_is_as_good_as_nothing() -> None:
    given = {"certificate": "PEM", "certificate_file": None, "environment": "sandbox", "timeout": None, "topic": None}
    assert apnsd.App.from_mapping("x", given) == apnsd.App("PEM", environment="sandbox")
