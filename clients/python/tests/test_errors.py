"""Errors can be told apart, caught in the usual ways, and sent to other processes."""

from __future__ import annotations

import pickle

import pytest

import apnsd

NAMES = [
    (404, "UnknownAppID"),
    (401, "InvalidEnvironment"),
    (500, "ServerTimeout"),
    (8002, "InvalidArguments"),
    (8001, "ApnsdError"),
]


@pytest.mark.parametrize(("code", "name"), NAMES)
def test_a_fault_becomes_the_error_with_its_name(code: int, name: str) -> None:
    error = apnsd.error_of_fault(code, "why")
    assert (type(error).__name__, error.code, error.text, str(error)) == (name, code, "why", "why")
    assert (error.request_id, error.accepted) == (None, 0)


@pytest.mark.parametrize("kind", [*(getattr(apnsd, name) for _, name in NAMES), apnsd.ConnectionFailed])
def test_an_error_survives_pickling_with_all_it_knows(kind: type[apnsd.ApnsdError]) -> None:
    error = kind("Grüße", code=7, request_id="r", accepted=3)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (str(copy), copy.text, copy.code, copy.request_id, copy.accepted) == ("Grüße", "Grüße", 7, "r", 3)


def test_code_that_catches_what_python_raises_goes_on_working() -> None:
    assert issubclass(apnsd.ConnectionFailed, ConnectionError)
    assert issubclass(apnsd.InvalidArguments, ValueError)
