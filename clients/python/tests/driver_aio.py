"""As `driver.py`, with the client for asyncio."""

from __future__ import annotations

import asyncio

from driver import arguments, commands, raised, returned

import apnsd
import apnsd.aio


async def main() -> None:
    """Ends at the end of the input."""
    client: apnsd.aio.Client | None = None
    for command in commands():  # Nothing else runs in this loop that reading could hold up.
        try:
            if command["do"] == "open":
                if client:
                    await client.close()
                settings = {name: value for name, value in command.items() if name != "do"}
                client = apnsd.aio.Client(**settings)
                returned("open", None)
            else:
                verb, positional, named = arguments(command)
                returned(verb, await getattr(client, verb)(*positional, **named))
        except apnsd.ApnsdError as error:
            raised(error)
    if client:
        await client.close()


if __name__ == "__main__":
    asyncio.run(main())
