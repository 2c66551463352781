"""A client for the end-to-end tests: our Python package, driven by JSON lines.

The first argument is a JSON object with the settings; see ``../src/shim.rs`` for the lines in both directions.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import wse_client


def say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line, ensure_ascii=True) + "\n")
    sys.stdout.flush()


async def obey(client: wse_client.AsyncWSEClient) -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        if order["do"] == "send":
            id = await client.send(order["type"], order["payload"], order.get("topic"))
            say(event="sent", id=id)
        elif order["do"] == "subscribe":
            outcome = await client.subscribe(order["topic"])
            say(event="subscription", confirmed=outcome.confirmed)
        elif order["do"] == "close":
            return


async def listen(client: wse_client.AsyncWSEClient) -> None:
    async for event in client:
        say(event="message", type=event.type, id=event.id, topic=event.topic, payload=event.payload, text=event.payload_json)


async def main() -> None:
    settings = json.loads(sys.argv[1])
    options: dict[str, Any] = {
        "encryption": settings["encryption"],
        "compression": settings["compression"],
        "encoding": "msgpack" if settings["format"] == "msgpack" else "json",
        "initial_delay": 0.1,
        "max_delay": 1.0,
    }
    if settings["token"] is not None:
        options["token"] = settings["token"]
    try:
        async with wse_client.connect(settings["url"], **options) as client:
            if settings["topics"]:
                await client.subscribe(settings["topics"])
            say(event="connected", encrypted=client.server is not None and client.server.encrypted)
            reader = asyncio.create_task(listen(client))
            await obey(client)
            await client.close()
            await reader
    except wse_client.WSEError as error:
        say(event="failed", code=error.code, detail=str(error))
        return
    say(event="closed")


asyncio.run(main())
