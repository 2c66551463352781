"""Event loops, threads, processes, and the end of the interpreter."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from wse_client import AsyncWSEClient, WSEUsageError, connect


def test_a_second_loop_is_refused(url: str) -> None:
    async def first() -> AsyncWSEClient:
        return await connect(url)

    async def second(client: AsyncWSEClient) -> None:
        for call in (client.send("n"), client.subscribe("a"), anext(client), client.close()):
            with pytest.raises(WSEUsageError, match="another event loop"):
                await call  # type: ignore[misc]

    loop = asyncio.new_event_loop()
    client = loop.run_until_complete(first())
    asyncio.run(second(client))
    loop.run_until_complete(client.close())
    loop.close()


def test_a_client_made_outside_of_a_loop_works_in_one(url: str, topic: str) -> None:
    client = AsyncWSEClient(url, topics=[topic])

    async def main() -> Any:
        async with client:
            await client.publish(topic, "n", 1)
            return (await anext(client)).payload

    assert asyncio.run(main()) == 1


@pytest.mark.smoke
def test_uvloop(url: str, topic: str) -> None:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed (the full run installs it)")
    loop = uvloop.new_event_loop()
    loop.run_until_complete(many(url, topic))
    loop.close()


class LoopWithoutReaders(asyncio.SelectorEventLoop):
    """Like the proactor loop of Windows: it cannot watch a socket."""

    def add_reader(self, *args: Any) -> Any:
        # The loop itself watches its own pipe.
        if args and args[0] is getattr(self, "_csock", None) or not hasattr(self, "_ssock"):
            return super().add_reader(*args)
        raise NotImplementedError


@pytest.mark.smoke
def test_a_loop_that_cannot_watch_a_socket(url: str, topic: str) -> None:
    loop = LoopWithoutReaders()
    loop.run_until_complete(many(url, topic))
    loop.close()


async def many(url: str, topic: str) -> None:
    async with connect(url, topics=[topic]) as client:
        for start in range(0, 2000, 100):
            for number in range(start, start + 100):
                await client.publish(topic, "n", number)
            got = [(await anext(client)).payload for _ in range(100)]
            assert got == list(range(start, start + 100))


def test_a_client_in_each_of_four_threads(url: str, topic: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: asyncio.run(many(url, f"{topic}:{number}")), range(4)))


async def test_a_forgotten_client_is_closed_and_reported(url: str) -> None:
    client = await connect(url)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del client
        gc.collect()
        await asyncio.sleep(0.3)
    assert any("unclosed AsyncWSEClient" in str(warning.message) for warning in caught)


@pytest.mark.smoke
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork(url: str, topic: str) -> None:
    """The child cannot use its parent's client, and says so; it can make its own."""
    run_program(
        f"""
        async def main():
            async with connect({url!r}, topics=[{topic!r}]) as client:
                child = os.fork()
                if child == 0:
                    try:
                        await client.send("n")
                    except WSEUsageError as error:
                        assert "forked" in str(error), error
                        os._exit(7)
                    os._exit(1)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
                await client.publish({topic!r}, "n", 1)
                assert (await anext(client)).payload == 1

        async def in_child():
            async with connect({url!r}, topics=["own"]) as client:
                await client.publish("own", "n", 1)
                assert (await anext(client)).payload == 1

        asyncio.run(main())
        child = os.fork()
        if child == 0:
            asyncio.run(in_child())
            sys.exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        """
    )


ENDINGS = {
    "closed": "break",
    "exit in the stream": "sys.exit(0)",
    "exit without close": "leave(client)",
    "exception": "raise Stop",
    "interrupt": "os.kill(os.getpid(), signal.SIGINT)",
}

PROGRAM = """
topic = f"{topic}:{{os.getpid()}}"

class Stop(Exception):
    pass

kept = []

def leave(client):
    kept.append(client)   # so that nothing closes it
    raise SystemExit(0)

async def flood(client):
    number = 0
    while True:
        for _ in range(20):
            await client.publish(topic, "n", number)
            number += 1
        await asyncio.sleep(0.001)

async def main():
    client = await connect({url!r}, topics=[topic])
    task = asyncio.create_task(flood(client))
    kept.append(task)
    async for event in client:
        if event.payload > 5:
            {ending}
    task.cancel()
    await client.close()

try:
    {run}
except (Stop, KeyboardInterrupt):
    pass
"""

WITHOUT_READERS = """(lambda loop: (setattr(loop, "add_reader", refuse), loop.run_until_complete(main())))(
        asyncio.new_event_loop())"""


@pytest.mark.parametrize("wake", ["socket", "call"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_fifty_short_programs_exit_cleanly(url: str, topic: str, ending: str, wake: str) -> None:
    """Five endings, two ways to wake the loop, five each: fifty programs, all of which end with code 0."""
    run = "asyncio.run(main())" if wake == "socket" else WITHOUT_READERS
    program = PROGRAM.format(url=url, topic=topic, ending=ENDINGS[ending], run=run)
    if wake == "call":
        program = "def refuse(*_):\n    raise NotImplementedError\n" + program
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: run_program(program), range(5)))


@pytest.mark.smoke
@pytest.mark.parametrize("ending", ENDINGS)
def test_short_program_exits_cleanly(url: str, topic: str, ending: str) -> None:
    run_program(PROGRAM.format(url=url, topic=topic, ending=ENDINGS[ending], run="asyncio.run(main())"))


def test_a_program_for_pipes_survives_the_end_of_its_loop(url: str) -> None:
    """Command line tools often give SIGPIPE its default back; a write to a closed doorbell must not kill them."""
    run_program(
        f"""
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        client = AsyncWSEClient({url!r}, topics=["busy"])

        async def main():
            await client.connect()
            for number in range(100):
                await client.publish("busy", "n", number)
            asyncio.ensure_future(anext(client))

        asyncio.run(main())
        import time
        time.sleep(0.3)
        """
    )


def run_program(source: str) -> None:
    header = "import asyncio, os, signal, sys\nfrom wse_client import *\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", header + textwrap.dedent(source)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr and "panicked" not in done.stderr, done.stderr

