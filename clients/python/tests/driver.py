"""Makes the calls that `behaviour.py` asks for: one JSON object per line in, one out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

import apnsd


def commands() -> Iterator[dict[str, Any]]:
    """The commands, one after the other."""
    for line in sys.stdin:
        yield json.loads(line)


def arguments(command: dict[str, Any]) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """The verb, and what to call it with."""
    given = dict(command)
    verb = given.pop("do")
    names = {"configure": ["apps"], "notify": ["app", "tokens", "notifications"], "apps": []}
    names["send"] = names["notify"]
    positional = tuple(given.pop(name) for name in names.get(verb, ["app"]))
    return verb, positional, {**given.pop("options", {}), **given}


def returned(verb: str, value: Any) -> None:
    """Answers with what a verb returned."""
    if isinstance(value, apnsd.Page):
        value = {verb: value.entries, "cursor": value.cursor}
    print(json.dumps({"returned": value}, default=_plain), flush=True)


def raised(error: apnsd.ApnsdError) -> None:
    """Answers with what a verb raised."""
    answer = {"raised": type(error).__name__, "code": error.code, "text": str(error), "accepted": error.accepted}
    if error.request_id is not None:
        answer["request_id"] = error.request_id
    print(json.dumps(answer), flush=True)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        assert value.utcoffset() is not None
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert is_dataclass(value)
    assert not isinstance(value, type)
    return {name: member for name, member in asdict(value).items() if member is not None}


def main() -> None:
    """Ends at the end of the input."""
    client: apnsd.Client | None = None
    for command in commands():
        try:
            if command["do"] == "open":
                if client:
                    client.close()
                settings = {name: value for name, value in command.items() if name != "do"}
                client = apnsd.Client(**settings)
                returned("open", None)
            else:
                verb, positional, named = arguments(command)
                returned(verb, getattr(client, verb)(*positional, **named))
        except apnsd.ApnsdError as error:
            raised(error)
    if client:
        client.close()


if __name__ == "__main__":
    main()
