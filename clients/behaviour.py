#!/usr/bin/env python3
"""Plays the stories of `behaviour.toml` with the clients, against a real daemon and the simulator.

    behaviour.py [LANGUAGE …] [--story WORDS]

Each language has a driver: a program that makes one call of its client for each line of JSON that it gets, and answers
with what the client returned or raised. All judging is done here, by one table. Needs Python 3.11.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import xmlrpc.client
from pathlib import Path
from typing import Any

from world import HERE, PATIENCE, World

PYTHON = [os.environ.get("PYTHON", sys.executable)]
DRIVERS: dict[str, list[str]] = {
    "python": [*PYTHON, "python/tests/driver.py"],
    "python-asyncio": [*PYTHON, "python/tests/driver_aio.py"],
    "ruby": ["ruby", "-I", "ruby/lib", "ruby/test/driver.rb"],
    "c": [os.environ.get("C_DRIVER", "c/build/driver")],
}
#: What a client is opened with where the story does not say.
OPEN = {"url": "$url", "apps": {"myapp": {"certificate_file": "$certificate", "environment": "sandbox"}}}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class Failure(Exception):
    """What happened is not what the story says."""


class Driver:
    """The client of a language, in a process of its own."""

    def __init__(self, language: str) -> None:
        self._process = subprocess.Popen(
            DRIVERS[language],
            cwd=HERE,
            env={**os.environ, "PYTHONPATH": str(HERE / "python" / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Makes a call; what came of it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], 2 * PATIENCE)[0]:
            raise Failure(f"the client did not come back from {command['do']}")
        line = self._process.stdout.readline()
        if not line:
            raise Failure(f"the driver ended with {self._process.wait()} in {command['do']}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Lets it end by itself; a driver that does not is at fault."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._process.stdout.close()
        if status != 0:
            raise Failure(f"the driver ended with {status}")


class Play:
    """One story in one language."""

    def __init__(self, world: World, language: str, directory: str) -> None:
        self._world = world
        self._names = {"dir": directory}
        self._before = len(world.arrived())
        self._connections_before = world.proxy.connections
        self._driver = Driver(language)
        self._last: dict[str, Any] = {}

    def step(self, step: dict[str, Any]) -> None:
        """Does what a step says and judges what came of it."""
        step = self._filled(step)
        if "do" in step:
            self._call(step)
        elif "daemon" in step:
            self._daemon(step["daemon"])
        elif "lose_answers" in step:
            self._world.proxy.lose_answers(step["lose_answers"])
        elif "connections" in step:
            expect("connections", self._world.proxy.connections - self._connections_before, step["connections"])
        elif "copy" in step:
            shutil.copyfile(step["copy"], step["to"])
        elif "arrived" in step:
            self._arrived(step)
        else:
            raise Failure(f"the story has a step that does not exist: {step}")

    def close(self) -> None:
        """Ends the client."""
        self._driver.close()

    def _call(self, step: dict[str, Any]) -> None:
        expected = {key: step.pop(key) for key in ("returned", "raised", "code", "text", "accepted") if key in step}
        command = {**OPEN, **step} if step["do"] == "open" else step
        if "tokens" in command:
            command["tokens"] = tokens(command["tokens"])
        self._last = self._driver.ask(self._filled(command))
        if "raised" not in expected and "raised" in self._last:
            raise Failure(f"{step['do']} raised {self._last}")
        if expected.get("returned") == "nothing":
            expected["returned"] = None
        for key, value in expected.items():
            if key == "text":
                expect_text(self._last.get("text"), value)
            else:
                expect(key, self._last.get(key), value)
        if "raised" in expected and "code" not in expected:
            expect("code", self._last.get("code"), None)

    def _daemon(self, commands: str | list[Any]) -> None:
        """Does something to the daemon, or makes a call that the client knows nothing of."""
        if isinstance(commands, list):
            method, *params = commands
            with xmlrpc.client.ServerProxy(self._world.url, allow_none=True) as daemon:
                getattr(daemon, method)(*params)
            return
        for command in commands.split(", "):
            getattr(self._world, command)()

    def _arrived(self, step: dict[str, Any]) -> None:
        """Exactly these notifications arrived since the story began, in any order."""
        expected = sorted(tokens(step["arrived"]))
        self._world.wait_arrived(self._before + len(expected))
        self._wait_until_nothing_waits()
        arrived = self._world.arrived()[self._before :]
        expect("arrived", sorted(entry["token"] for entry in arrived), expected)
        for key in ("payload", "subject"):
            if key in step:
                expect(key, arrived[-1][key], step[key])

    def _wait_until_nothing_waits(self) -> None:
        deadline = time.monotonic() + PATIENCE
        with xmlrpc.client.ServerProxy(self._world.url) as daemon:
            while any(app["waiting"] or app["in_flight"] for app in daemon.apnsd.apps()):  # type: ignore[union-attr]
                if time.monotonic() > deadline:
                    raise Failure("notifications still wait")
                time.sleep(0.02)  # Nothing tells of an empty queue: look again.

    def _filled(self, value: Any) -> Any:
        """A value with what `$name` stands for, and JSON's null for `$null`."""
        if isinstance(value, dict):
            return {key: self._filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if not isinstance(value, str) or "$" not in value:
            return value
        if value == "$null":
            return None
        if value == "$text_of_certificate":
            return Path(self._world.certificate).read_text()
        if value == "$request_id":
            return self._last["request_id"]
        return re.sub(r"\$(\w+)", lambda name: self._names.get(name[1]) or getattr(self._world, name[1]), value)


def tokens(short: Any) -> Any:
    """Tokens in full: what a story writes is what they begin with; `{many = N}` is N of them."""
    if isinstance(short, dict):
        return [f"{number:064x}" for number in range(short["many"])] + [token(last) for last in short.get("and", [])]
    return token(short) if isinstance(short, str) else [token(each) for each in short]


def token(short: str) -> str:
    return short if short.startswith("!") else short.ljust(64, "0")


def expect_text(actual: Any, expected: str) -> None:
    """The text has these words."""
    if not isinstance(actual, str) or expected not in actual:
        raise Failure(f"text: {expected!r} is not in {actual!r}")


def expect(what: str, actual: Any, expected: Any) -> None:
    """They are equal; of an object only the named members count, and "@time" is any time, "*" anything."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key, value in expected.items():
            expect(f"{what}.{key}", actual.get(key), value)
    elif isinstance(expected, list) and isinstance(actual, list) and len(actual) == len(expected):
        for index, value in enumerate(expected):
            expect(f"{what}[{index}]", actual[index], value)
    elif expected == "@time":
        if not isinstance(actual, str) or not TIME.fullmatch(actual):
            raise Failure(f"{what}: {actual!r} is not a time in UTC")
    elif isinstance(expected, str) and expected.startswith("@token "):
        expect(what, actual, token(expected.removeprefix("@token ")))
    elif expected != "*" and actual != expected:
        raise Failure(f"{what}: {shown(actual)}, not {shown(expected)}")


def shown(value: Any) -> str:
    """For a message."""
    text = json.dumps(value)
    return text if len(text) < 400 else f"{text[:400]}… ({len(text)} characters)"


def play(world: World, language: str, story: dict[str, Any]) -> str | None:
    """What went wrong, if something did. The daemon has forgotten everything when a story begins."""
    world.kill()
    world.forget()
    world.start()
    world.proxy.lose_answers(0)
    with tempfile.TemporaryDirectory() as directory:
        stage = Play(world, language, directory)
        number = 0
        try:
            try:
                for number, step in enumerate(story["steps"], 1):
                    stage.step(step)
            finally:
                stage.close()
        except (Failure, RuntimeError, OSError, xmlrpc.client.Error) as failure:
            return f"step {number}: {failure}"
    return None


def main() -> int:
    """Plays what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE", help=", ".join(DRIVERS))
    parser.add_argument("--story", default="", help="only stories with these words in their name")
    arguments = parser.parse_args()
    table = tomllib.loads((HERE / "behaviour.toml").read_text())
    chosen = [story for story in table["story"] if arguments.story in story["name"]]
    failed = 0
    for language in arguments.languages or DRIVERS:
        played = [story for story in chosen if language not in story.get("not_in", [])]
        with World() as world:
            for story in played:
                problem = play(world, language, story)
                failed += problem is not None
                print(f"{language}: {'FAILED' if problem else 'ok'}: {story['name']}", flush=True)
                if problem:
                    print(f"    {problem}", flush=True)
        print(f"{language}: {len(played)} of {len(chosen)} stories played", flush=True)
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
