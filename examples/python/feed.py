"""Prints the demo feed: one line per event, for as long as you like.

    python3 examples/python/feed.py --count 5
"""

from __future__ import annotations

import argparse
import asyncio

from wse_client import WSEError, connect


async def main(url: str, count: int | None) -> None:
    async with connect(url, topics=["host:*"]) as client:
        async for event in client:
            print(f"{event.topic or '-':<13} {event.type:<17} {event.payload!s:.100}", flush=True)
            if count is not None and (count := count - 1) <= 0:
                break


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the live feed of a WSE server")
    parser.add_argument("url", nargs="?", default="ws://127.0.0.1:5006/wse", help="address of the server")
    parser.add_argument("-n", "--count", type=int, help="stop after this many messages")
    args = parser.parse_args()
    try:
        asyncio.run(main(args.url, args.count))
    except WSEError as error:
        raise SystemExit(f"{error.code}: {error}") from None
    except KeyboardInterrupt:
        pass
