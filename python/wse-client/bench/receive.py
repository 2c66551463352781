"""How many events one asyncio program handles per second of its processor time.

Subscribes to a topic, handles the given number of events, and prints one line of JSON::

    {"events": 200000, "cpu_seconds": 0.61, "events_per_cpu_second": 327868, "wall_seconds": 0.9, ...}

The processor time is that of the whole process: the engine's threads, the event loop, and the program's own loop body,
which looks at the type and the payload of each event. With ``--publish`` another process of this script sends the
messages; without it somebody else does (start this one first).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time

from wse_client import WSEEvent, connect

PAYLOAD = {"symbol": "EURUSD", "bid": 1.08531, "ask": 1.08534, "at": 1771601400123}


async def receive(args: argparse.Namespace) -> dict[str, object]:
    async with connect(args.url, token=args.token, encoding=args.encoding, queue_size=args.queue) as client:
        await client.subscribe(args.topic)
        print("ready", file=sys.stderr, flush=True)
        publisher = start_publisher(args) if args.publish else None
        handled = lost = 0
        before = (0.0, 0.0)

        def handle(event: WSEEvent) -> None:
            nonlocal handled, lost, before
            if event.type == "lost":
                lost += event.payload["count"] or 1
                return
            if handled == 0:
                before = (time.process_time(), time.monotonic())
            if args.touch_payload:
                event.payload  # noqa: B018 - makes the Python objects
            handled += 1

        if args.batches:
            async for batch in client.batches():
                for event in batch:
                    handle(event)
                if handled + lost >= args.events:
                    break
        else:
            async for event in client:
                handle(event)
                if handled + lost >= args.events:
                    break
        cpu, wall = time.process_time() - before[0], time.monotonic() - before[1]
        if publisher is not None:
            publisher.wait(30)
    return {
        "events": handled,
        "lost": lost,
        "cpu_seconds": round(cpu, 4),
        "wall_seconds": round(wall, 4),
        "events_per_cpu_second": round(handled / cpu) if cpu else None,
        "batches": args.batches,
        "payload_parsed": args.touch_payload,
        "encoding": args.encoding,
        "python": sys.version.split()[0],
    }


def start_publisher(args: argparse.Namespace) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, args.url, "--topic", args.topic, "--events", str(args.events), "--only-publish"]
    if args.token:
        command += ["--token", args.token]
    return subprocess.Popen(command)


async def publish(args: argparse.Namespace) -> None:
    async with connect(args.url, token=args.token) as client:
        for _ in range(args.events):
            await client.publish(args.topic, "quote", PAYLOAD)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="ws://127.0.0.1:5006/wse")
    parser.add_argument("--topic", default="bench:python")
    parser.add_argument("--token")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--encoding", choices=["json", "msgpack"], default="json")
    parser.add_argument("--queue", type=int, default=4096)
    parser.add_argument("--batches", action="store_true", help="read lists of events instead of single ones")
    parser.add_argument("--no-payload", dest="touch_payload", action="store_false", help="leave payloads unparsed")
    parser.add_argument("--publish", action="store_true", help="start a publisher as well")
    parser.add_argument("--only-publish", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only_publish:
        asyncio.run(publish(args))
    else:
        print(json.dumps(asyncio.run(receive(args))), flush=True)


if __name__ == "__main__":
    main()
