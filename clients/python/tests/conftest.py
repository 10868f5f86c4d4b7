"""What the tests share: a daemon on a simulated Apple, and each kind of client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from world import World, program

import apnsd
import apnsd.aio

#: Opens a client of the kind that the test runs with. All are closed behind the test.
OpenClient = Callable[..., Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a daemon to run there is one line that says so, and not an error of each test."""
    if any("world" in getattr(item, "fixturenames", ()) for item in items):
        try:
            program()
        except SystemExit as missing:
            pytest.exit(str(missing), returncode=1)


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """One world for all tests: who stops its daemon starts it again."""
    with World() as world:
        yield world


class Blocking:
    """The client for asyncio, as if it blocked."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *arguments: Any, **named: Any) -> None:
        self._loop = loop
        self.client = apnsd.aio.Client(*arguments, **named)

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            return self._loop.run_until_complete(getattr(self.client, verb)(*arguments, **named))

        return run


@pytest.fixture(params=["blocking", "asyncio"])
def open_client(request: pytest.FixtureRequest) -> Iterator[OpenClient]:
    """Opens a client; the test runs once with each kind."""
    loop = asyncio.new_event_loop()
    clients: list[Any] = []

    def open_one(*arguments: Any, **named: Any) -> Any:
        kind: Any = apnsd.Client if request.param == "blocking" else lambda *a, **n: Blocking(loop, *a, **n)
        clients.append(kind(*arguments, **named))
        return clients[-1]

    yield open_one
    for client in clients:
        client.close()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.fixture
def apps(world: World) -> dict[str, dict[str, Any]]:
    """Settings of an app that the simulator takes."""
    return {"myapp": {"certificate_file": world.certificate, "environment": "sandbox"}}
