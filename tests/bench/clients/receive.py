"""Receives COUNT messages of TOPIC as an application would, and prints what that cost.

usage: receive.py URL TOPIC COUNT ACK_TOPIC

Every message is touched (type and one member of its payload). After each thousand, and at the end, it
publishes how far it has come to ACK_TOPIC, so that the publisher never runs more than a ring ahead.
"""

import asyncio
import json
import sys
import time

from wse_client import connect


async def main(url: str, topic: str, count: int, ack_topic: str) -> None:
    received = wrong = 0
    async with connect(url, topics=[topic]) as client:
        print("ready", flush=True)
        await asyncio.sleep(0.2)
        start = time.process_time()
        async for event in client:
            if event.type != "trade":
                continue
            wrong += event.payload["n"] != received
            received += 1
            if received % 1000 == 0:
                await client.publish(ack_topic, "ack", {"n": received})
            if received == count:
                break
        cpu = time.process_time() - start
    print(json.dumps({"received": received, "wrong": wrong, "cpu_seconds": cpu}), flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
