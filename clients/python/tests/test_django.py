"""`apnsd.django` in a real project: its own tests, and the commands as an operator runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from world import PATIENCE, World, free_port

import apnsd
from apnsd.django import credentials

HERE = Path(__file__).resolve().parent
PROJECT = HERE / "django_project"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A world of these tests alone: its daemon is killed and loses its state."""
    with World() as world:
        yield world


def manage(*arguments: str, **settings: Any) -> tuple[int, str]:
    """The exit code of `manage.py` in a project with these settings, and what it says."""
    path = os.pathsep.join(map(str, (HERE.parent / "src", HERE.parents[1])))
    done = subprocess.run(
        [sys.executable, "-W", "error", "manage.py", *arguments],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": path, "SETTINGS": json.dumps(settings)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * PATIENCE,
    )
    return done.returncode, done.stdout


def app(certificate: str) -> dict[str, Any]:
    return {"certificate_file": certificate, "environment": "sandbox"}


def lose_state(world: World) -> None:
    world.kill()
    world.forget()
    world.start()


def test_the_tests_of_the_project_pass() -> None:
    code, text = manage("test")
    assert code == 0, text
    assert re.search(r"Ran \d+ tests.*\n\nOK\n", text), text


# --- The system check


def test_good_settings_pass_the_check(world: World) -> None:
    good: tuple[dict[str, Any], ...] = (
        {},
        {"APNSD": {}},
        {"APNSD": {"URL": world.url, "TIMEOUT": 2.5, "APPS": {"shop": app(world.certificate)}}},
        {"PYAPNS_CONFIG": {"HOST": "localhost:7077", "TIMEOUT": 15, "INITIAL": [["a", "/a.pem", "sandbox", 15]]}},
    )
    for settings in good:
        assert manage("check", **settings) == (0, "System check identified no issues (0 silenced).\n")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"APNSD": []}, "(apnsd.E001) APNSD: a dict is needed, not list"),
        ({"APNSD": {"HOST": ""}}, "(apnsd.E002) APNSD has an unknown key HOST; there are URL, TIMEOUT, APPS"),
        ({"APNSD": {"URL": 7077}}, "(apnsd.E003) APNSD: URL: a string is needed, not int"),
        ({"APNSD": {"URL": "localhost:7077"}}, "(apnsd.E003) APNSD: URL: the daemon's URL: write http://host:port/"),
        (
            {"APNSD": {"TIMEOUT": "9"}},
            "(apnsd.E004) APNSD: TIMEOUT: a number of seconds more than 0 is needed, not '9'",
        ),
        ({"APNSD": {"TIMEOUT": 1e12}}, "(apnsd.E004) APNSD: TIMEOUT: at most 1000000 seconds are possible"),
        ({"APNSD": {"APPS": []}}, "(apnsd.E005) APNSD: APPS: a dict of apps is needed, not list"),
        ({"APNSD": {"APPS": {"a": "x"}}}, "(apnsd.E005) APNSD: APPS: app a: a dict of settings is needed, not str"),
        ({"APNSD": {"APPS": {"a": {"certificate": 5, "environment": "b"}}}}, "APPS: app a: certificate: text or bytes"),
        ({"APNSD": {"APPS": {"a": {"cert": "x"}, "b": {}}}}, "(apnsd.E005) APNSD: APPS: app a: unknown settings cert"),
        ({"APNSD": {"APPS": {"a": {"cert": "x"}, "b": {}}}}, "; app b: one of `certificate` and `certificate_file`"),
        ({"PYAPNS_CONFIG": {}}, "(apnsd.E003) PYAPNS_CONFIG: HOST is missing"),
        (
            {"PYAPNS_CONFIG": {"HOST": "localhost", "INITIAL": [["a"]]}},
            "(apnsd.E005) PYAPNS_CONFIG: INITIAL[0]: (app_id, certificate, environment[, timeout]) is needed",
        ),
        *(
            (
                {"PYAPNS_CONFIG": {"HOST": "localhost", "INITIAL": [entry]}},
                "(apnsd.E005) PYAPNS_CONFIG: INITIAL[0]: (app_id, certificate, environment[, timeout]) is needed",
            )
            for entry in (5, [["a"], "b", "c"], [1, "b", "c"], {"app_id": "a"})
        ),
    ],
)
def test_wrong_settings_fail_the_check(settings: dict[str, Any], told: str) -> None:
    code, text = manage("check", **settings)
    assert code == 1
    assert told in text


def test_doubtful_settings_are_warned_of(world: World) -> None:
    pyapns = {"HOST": "localhost", "PORT": 7077}
    code, text = manage("check", APNSD={}, PYAPNS_CONFIG=pyapns)
    assert (code, "(apnsd.W001) APNSD and PYAPNS_CONFIG are both set" in text) == (0, True)
    code, text = manage("check", PYAPNS_CONFIG=pyapns)
    assert (code, "(apnsd.W002) PYAPNS_CONFIG has an unknown key PORT; there are HOST" in text) == (0, True)


# --- apnsd_check


def test_apnsd_check_fails_without_a_daemon() -> None:
    code, text = manage("apnsd_check", APNSD={"URL": f"http://127.0.0.1:{free_port()}/"})
    assert code == 1
    assert "is the daemon running?" in text


def test_apnsd_check_names_an_app_that_is_not_provisioned_and_provisions_it(world: World) -> None:
    lose_state(world)
    settings = {"APNSD": {"URL": world.url, "APPS": {"shop": app(world.certificate)}}}
    code, text = manage("apnsd_check", **settings)
    assert (code, text.splitlines()) == (
        1,
        [
            "shop: not provisioned",
            "  the daemon does not know it: its first notification provisions it, and so does --provision",
            "CommandError: apps that need attention: 1 of 1",
        ],
    )
    code, text = manage("apnsd_check", "--provision", **settings)
    assert code == 0
    assert re.fullmatch(r"shop: sandbox, conn\w+, certificate until 20\d\d-\d\d-\d\d\n", text)


def test_apnsd_check_tells_why_an_app_cannot_send(world: World) -> None:
    lose_state(world)
    settings = {
        "APNSD": {"URL": world.url, "APPS": {"old": app(world.expired_certificate), "shop": app(world.certificate)}}
    }
    code, text = manage("apnsd_check", "--provision", **settings)
    assert code == 1
    old, why, *_, shop, failure = text.splitlines()
    assert old == "old: not provisioned"
    assert why.startswith("  provision failed: ")
    assert "expired" in why
    assert re.fullmatch(r"shop: sandbox, conn\w+, certificate until [\d-]+", shop)
    assert failure == "CommandError: apps that need attention: 1 of 2"


def test_apnsd_check_tells_the_daemons_cause(world: World) -> None:
    lose_state(world)
    with apnsd.Client(world.url) as client:
        client.call("provision", "old", world.expired_certificate, "sandbox")
    code, text = manage("apnsd_check", APNSD={"URL": world.url})
    assert code == 1
    first, cause, *_ = text.splitlines()
    assert first.startswith("old: sandbox, refused")
    assert "expired" in cause


def test_apnsd_check_tells_where_settings_and_daemon_disagree(world: World) -> None:
    with apnsd.Client(world.url) as client:
        client.provision("shop", Path(world.certificate).read_text(), "sandbox")
    shop = {"certificate_file": "/nowhere.pem", "environment": "production"}
    code, text = manage("apnsd_check", APNSD={"URL": world.url, "APPS": {"shop": shop}})
    assert code == 1
    assert text.splitlines()[1:] == [
        "  the daemon has it for sandbox, the settings for production: --provision moves it",
        "  app shop: the certificate file cannot be read: [Errno 2] No such file or directory: '/nowhere.pem'",
        "CommandError: apps that need attention: 1 of 1",
    ]


def test_apnsd_check_looks_into_certificate_files(world: World, tmp_path: Path) -> None:
    with apnsd.Client(world.url) as client:
        client.provision("shop", Path(world.certificate).read_text(), "sandbox")
    pem = Path(world.certificate).read_bytes()
    begin = pem.index(b"-----BEGIN CERTIFICATE-----\n") + 28
    certificate, key = pem[begin - 28 :].split(b"-----END CERTIFICATE-----\n", 1)[0], b"-----BEGIN PRIVATE KEY-----"
    contents = {
        pem: None,
        Path(world.key).read_bytes(): None,
        b"\x30\x82\x00": None,
        b"MII=\n": None,
        b" \n": "is empty",
        b"404 Not Found!\n": "is neither PEM nor PKCS #12",
        certificate + b"-----END CERTIFICATE-----\n": "has no private key",
        pem[:begin] + b"MIIC" + pem[begin + 100 :] + key: "has a damaged certificate (",
    }
    for content, problem in contents.items():
        found = credentials.problem(content)
        assert (found is None) == (problem is None), content
        assert (found or "").startswith(problem or ""), content
    file = tmp_path / "empty.pem"
    file.touch()
    code, text = manage("apnsd_check", APNSD={"URL": world.url, "APPS": {"shop": app(str(file))}})
    assert (code, text.splitlines()[1]) == (1, "  the certificate file of its settings is empty")


# --- The page


def test_the_settings_of_the_page_pass_the_check() -> None:
    page = (HERE.parent / "DJANGO.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(page.split("```python\n", 1)[1].split("```", 1)[0], names)
    assert names["INSTALLED_APPS"] == [..., "apnsd.django"]
    assert manage("check", APNSD=names["APNSD"]) == (0, "System check identified no issues (0 silenced).\n")
