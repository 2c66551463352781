"""A client for the end-to-end tests: a published package wse-client (1.3.9 or 2.5.1), driven by JSON lines as our own."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import wse_client.connection
from wse_client import AsyncWSEClient
from wse_client.types import ReconnectConfig

# It pings every 15 seconds; no test wants to wait that long for the first one.
wse_client.connection.HEARTBEAT_INTERVAL = 0.5


def say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line, ensure_ascii=True) + "\n")
    sys.stdout.flush()


async def obey(client: AsyncWSEClient) -> None:
    connection_id = client._connection.connection_id
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        if order["do"] == "send":
            if not await client.send(order["type"], order["payload"]):
                say(event="failed", code="NOT_SENT", detail="send() returned False")
        elif order["do"] == "batch":
            if not await client.send_batch([(item["type"], item["payload"]) for item in order["items"]]):
                say(event="failed", code="NOT_SENT", detail="send_batch() returned False")
        elif order["do"] == "renew":
            # 1.3.9 forgets its topics with the connection, and believes that it has them.
            first = connection_id
            while not client.is_fully_ready or client._connection.connection_id == first:
                await asyncio.sleep(0.05)
            await client.unsubscribe(order["topics"])
            await client.subscribe(order["topics"])
        elif order["do"] == "stats":
            stats = client.get_stats()
            say(event="stats", latency=stats["network"]["latency_ms"], reconnects=stats["reconnect_count"])
        elif order["do"] == "close":
            return


async def listen(client: AsyncWSEClient) -> None:
    async for event in client:
        topic = getattr(event, "topic", None)
        say(event="message", type=event.type, id=event.id, topic=topic, payload=event.payload)


async def main() -> None:
    settings = json.loads(sys.argv[1])
    url = settings["url"]
    if settings["format"] == "msgpack":
        url += "?format=msgpack"
    # Only the later package can encrypt.
    options = {"encryption": True} if settings["encryption"] else {}
    client = AsyncWSEClient(url, token=settings["token"], reconnect=ReconnectConfig(base_delay=0.2), **options)
    await client.connect()
    reader = asyncio.create_task(listen(client))
    deadline = asyncio.get_running_loop().time() + 10
    while not client.is_fully_ready and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.05)
    if settings["encryption"]:
        # The package encrypts as soon as it has read server_hello, and says so nowhere.
        while not client._security.is_enabled and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
    if settings["topics"]:
        await client.subscribe(settings["topics"])
    say(
        event="connected",
        ready=client.is_fully_ready,
        encrypted=settings["encryption"] and client._security.is_enabled,
    )
    await obey(client)
    await client.disconnect()
    reader.cancel()
    say(event="closed")


asyncio.run(main())
