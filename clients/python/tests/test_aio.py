"""The client for asyncio: many tasks, cancellation, and one event loop after another."""

from __future__ import annotations

import asyncio
import gc
import threading
from time import monotonic, sleep
from typing import Any

import pytest
from stub import SILENCE, Stub, answer
from test_world import HELLO, arrivals, token
from world import PATIENCE, World

import apnsd.aio


def test_tasks_that_use_an_app_first_at_once_provision_it_once(apps: dict[str, Any]) -> None:
    async def main() -> None:
        async with apnsd.aio.Client(stub.url, apps=apps) as client:
            await asyncio.gather(*(client.notify("myapp", "aa", HELLO) for _ in range(8)))

    with Stub(answer(None)) as stub:
        asyncio.run(main())
        assert [method for method, _ in stub.calls()] == ["provision"] + ["notify"] * 8


def test_each_task_gets_its_own_answer(world: World, apps: dict[str, Any]) -> None:
    tokens = [token("aa") for _ in range(60)]

    async def main() -> None:
        async with apnsd.aio.Client(world.proxy_url, apps=apps) as client:
            rounds = [
                await asyncio.gather(*(client.send("myapp", name, HELLO) for name in tokens[n::3])) for n in range(3)
            ]
        for n, results in enumerate(rounds):
            assert [[result.token for result in row] for row in results] == [[name] for name in tokens[n::3]]

    before = world.proxy.connections
    asyncio.run(main())
    assert world.proxy.connections - before <= 20


def test_a_cancelled_call_closes_its_connection_and_mixes_nothing_up() -> None:
    async def main() -> None:
        async with apnsd.aio.Client(stub.url) as client:
            await client.apps()
            call = asyncio.create_task(client.call("system.slow"))
            await asyncio.to_thread(reached.acquire)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await client.call("system.next") == "of the next"

    reached = threading.Semaphore(0)
    with Stub(answer([]), SILENCE, answer("of the next")) as stub:
        stub.before_answer = lambda body: reached.release() if b"slow" in body else None
        asyncio.run(main())
        assert [method for method, _ in stub.calls()] == ["apnsd.apps", "system.slow", "system.next"]
        assert stub.connections == 2


def test_a_task_that_is_cancelled_while_it_provisions_leaves_that_to_the_next(apps: dict[str, Any]) -> None:
    async def main() -> None:
        async with apnsd.aio.Client(stub.url, apps=apps) as client:
            first = asyncio.create_task(client.notify("myapp", "aa", HELLO))
            await asyncio.to_thread(reached.acquire)
            second = asyncio.create_task(client.notify("myapp", "bb", HELLO))
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            await second

    reached = threading.Semaphore(0)
    with Stub(SILENCE, answer(None)) as stub:
        stub.before_answer = lambda _: reached.release()
        asyncio.run(main())
        assert [method for method, _ in stub.calls()] == ["provision", "provision", "notify"]


def test_tasks_that_wait_for_a_silent_daemon_are_told_when_the_first_is() -> None:
    apps = {"myapp": {"certificate": "PEM", "environment": "sandbox", "timeout": 0.1}}

    async def main() -> None:
        async with apnsd.aio.Client(stub.url, timeout=0.4, apps=apps) as client:
            begun = monotonic()
            calls = [client.notify("myapp", "aa", HELLO) for _ in range(6)]
            errors = await asyncio.gather(*calls, return_exceptions=True)
            assert monotonic() - begun < 1.5
            assert all(str(error).startswith(f"{stub.url} gave no answer within 0.5 seconds") for error in errors)

    with Stub(SILENCE) as stub:
        asyncio.run(main())
        assert len(stub.requests) == 1


def test_what_a_task_waited_for_another_counts_against_its_own_call() -> None:
    apps = {"myapp": {"certificate": "PEM", "environment": "sandbox", "timeout": 0.2}}

    async def main() -> None:
        async with apnsd.aio.Client(stub.url, timeout=1.5, apps=apps) as client:
            other = asyncio.create_task(client.provision("myapp"))
            assert await asyncio.to_thread(asked.wait, PATIENCE)
            begun = monotonic()
            with pytest.raises(apnsd.ConnectionFailed, match=r"1\.5 seconds, of which 0\.[78] were spent waiting"):
                await client.notify("myapp", "aa", HELLO)
            assert monotonic() - begun < 2.2
            await other

    asked = threading.Event()

    def wait_for_the_other(body: bytes) -> None:
        if b"provision" in body:
            asked.set()
            sleep(1)

    with Stub(answer(None), SILENCE) as stub:
        stub.before_answer = wait_for_the_other
        asyncio.run(main())


def test_what_nobody_asked_for_closes_the_connection() -> None:
    async def main() -> None:
        async with apnsd.aio.Client(stub.url) as client:
            assert await client.call("a") == 1
            assert await asyncio.to_thread(stub.gone.acquire, timeout=PATIENCE)
            assert await client.call("b") == 2
            stub.say(answer("not asked for"))
            assert await asyncio.to_thread(stub.gone.acquire, timeout=PATIENCE)
            assert await client.call("c") == 2

    # The first answer comes with more at once, the second one later.
    with Stub(answer(1) + answer("not asked for"), answer(2)) as stub:
        asyncio.run(main())
        assert stub.connections == 3


def test_a_connection_that_was_closed_while_the_loop_was_busy_costs_no_call() -> None:
    async def main() -> None:
        async with apnsd.aio.Client(stub.url) as client:
            await client.apps()
            stub.hang_up()
            assert stub.gone.acquire(timeout=PATIENCE)
            assert await client.call("system.x") == []

    with Stub(answer([])) as stub:
        asyncio.run(main())
        assert stub.connections == 2


def test_two_event_loops_at_once_are_an_error(apps: dict[str, Any]) -> None:
    async def hold(client: apnsd.aio.Client) -> None:
        await client.apps()
        held.set()
        await asyncio.to_thread(over.wait, PATIENCE)

    held, over = threading.Event(), threading.Event()
    with Stub(answer([])) as stub:
        client = apnsd.aio.Client(stub.url)

        async def close() -> None:
            await hold(client)
            await client.close()

        other = threading.Thread(target=lambda: asyncio.run(close()))
        other.start()
        assert held.wait(PATIENCE)
        with pytest.raises(apnsd.InvalidArguments, match="in use in another event loop: make one for each"):
            asyncio.run(client.apps())
        over.set()
        other.join()
        asyncio.run(client.close())


def test_a_client_may_outlive_its_event_loop(world: World, apps: dict[str, Any]) -> None:
    client = apnsd.aio.Client(world.url, apps=apps)
    arrived, tokens = len(world.arrived()), [token("aa"), token("aa")]

    async def main(name: str) -> None:
        await asyncio.gather(client.notify("myapp", name, HELLO), client.status("nosuch"), return_exceptions=True)
        await client.close()

    for name in tokens:
        asyncio.run(main(name))
    assert [entry["token"] for entry in arrivals(world, tokens, arrived)] == tokens


# Python warns of what was not closed.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_ends_without_close_leaves_nothing_to_the_next() -> None:
    async def main(client: apnsd.aio.Client) -> Any:
        return await client.call("a")

    with Stub(answer(1)) as stub:
        client = apnsd.aio.Client(stub.url)
        assert [asyncio.run(main(client)), asyncio.run(main(client))] == [1, 1]
        assert stub.connections == 2
        del client
        gc.collect()
