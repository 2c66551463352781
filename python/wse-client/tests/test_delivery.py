"""Nothing is lost, doubled or out of order, whatever the reader does."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest

from server import Server
from wse_client import AsyncWSEClient, WSEError, WSEEvent, WSERequestError, connect

MANY = 20_000


async def publish_numbers(client: AsyncWSEClient, topic: str, count: int) -> None:
    for number in range(count):
        await client.publish(topic, "n", number)


async def trickle_numbers(client: AsyncWSEClient, topic: str, count: int) -> None:
    """In small bursts, so that a reader often has to wait."""
    for number in range(count):
        await client.publish(topic, "n", number)
        if number % 4 == 3:
            await asyncio.sleep(0.001)


async def read_numbers(client: AsyncWSEClient, count: int) -> list[Any]:
    got: list[Any] = []
    async for event in client:
        got.append(event.payload if event.type == "n" else event)
        if len(got) == count:
            break
    return got


async def test_twenty_thousand_in_order(url: str, topic: str) -> None:
    async with connect(url, topics=[topic]) as reader, connect(url) as writer:
        reading = asyncio.create_task(read_numbers(reader, MANY))
        await publish_numbers(writer, topic, MANY)
        assert await reading == list(range(MANY))
        assert reader.metrics.messages_received == MANY
        assert writer.metrics.messages_sent == MANY


async def test_a_message_says_to_which_trace_it_belongs(shared_server: Server, topic: str) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with connect(shared_server.url, topics=[topic]) as client:
        shared_server.publish(topic, "n", 1, traceparent=trace)
        shared_server.publish(topic, "n", 2)
        assert [(await anext(client)).traceparent for _ in range(2)] == [trace, None]


async def test_batches(url: str, topic: str) -> None:
    async with connect(url, topics=[topic]) as client:
        sending = asyncio.create_task(publish_numbers(client, topic, 2000))
        got: list[Any] = []
        async for batch in client.batches():
            got += [event.payload for event in batch]
            if len(got) >= 2000:
                break
        await sending
        assert got == list(range(2000))


async def test_a_slow_reader_loses_nothing(url: str, topic: str) -> None:
    """The queue holds 16, so most of the messages wait in sockets and in the server."""
    count = 3000
    async with connect(url, topics=[topic], queue_size=16) as reader, connect(url) as writer:
        await publish_numbers(writer, topic, count)
        await asyncio.sleep(0.5)
        got: list[Any] = []
        async for event in reader:
            got.append(event.payload)
            if len(got) % 200 == 0:
                await asyncio.sleep(0.01)
            if len(got) == count:
                break
        assert got == list(range(count))


async def test_what_the_server_had_to_drop_is_told(forgetful_server: Server, topic: str) -> None:
    count = 12_000
    async with connect(forgetful_server.url, topics=[topic], queue_size=1) as reader:
        async with connect(forgetful_server.url) as writer:
            for number in range(count):
                await writer.publish(topic, "n", {"number": number, "filling": "x" * 900})
            await writer.publish(topic, "end")
        got: list[int] = []
        lost = 0
        async for event in reader:
            if event.type == "n":
                got.append(event.payload["number"])
            elif event.type == "lost":
                assert event.payload["topic"] == topic
                lost += event.payload["count"]
            else:
                break
        assert lost > 0 and len(got) + lost == count
        assert got == sorted(set(got))
        assert reader.metrics.messages_lost == lost


async def test_cancelling_a_reader_loses_nothing(url: str, topic: str) -> None:
    count = 2000
    chance = random.Random(5)
    async with connect(url, topics=[topic]) as reader, connect(url) as writer:
        sending = asyncio.create_task(trickle_numbers(writer, topic, count))
        got: list[Any] = []
        cancelled = 0
        while len(got) < count:
            step = asyncio.create_task(anext(reader))  # type: ignore[arg-type]
            if chance.random() < 0.3:
                await asyncio.sleep(chance.choice([0, 0, 0.0005]))
                step.cancel()
            try:
                got.append((await step).payload)
            except asyncio.CancelledError:
                cancelled += 1
        await sending
        assert got == list(range(count))
        assert cancelled > 10, "the test has to cancel in earnest"


async def test_cancelling_a_handler_calls_it_once_and_loses_nothing(url: str, topic: str) -> None:
    async with connect(url, topics=[topic]) as client:
        handled: list[Any] = []

        @client.on("n")
        async def slow(event: WSEEvent) -> None:
            await asyncio.sleep(0.02)
            handled.append(event.payload)

        await publish_numbers(client, topic, 3)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(client), 0.005)
        assert await read_numbers(client, 3) == [0, 1, 2]
        assert handled == [0, 1, 2]


async def test_cancelled_subscribe_still_subscribes(url: str, topic: str) -> None:
    async with connect(url) as client:
        asking = asyncio.create_task(client.subscribe(topic))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await client.subscribe(topic)).topics == (topic,)
        await client.publish(topic, "n", 1)
        assert await read_numbers(client, 1) == [1]


async def test_unsubscribe_stops_the_topic(url: str, topic: str) -> None:
    async with connect(url, topics=[topic, topic + ":end"]) as client:
        assert (await client.unsubscribe([topic])).confirmed
        await client.publish(topic, "n", 1)
        await client.publish(topic + ":end", "n", 2)
        assert await read_numbers(client, 1) == [2]


async def test_patterns_and_exact_names_deliver_once(url: str, topic: str) -> None:
    async with connect(url) as client:
        await client.subscribe([topic, topic[:-2] + "*", topic[:-1] + "?"])
        await publish_numbers(client, topic, 3)
        await client.publish(topic, "end")
        got = [(await anext(client)).type for _ in range(4)]
        assert got == ["n", "n", "n", "end"]


async def test_two_clients_in_one_loop(url: str, topic: str) -> None:
    async with connect(url, topics=[topic]) as one, connect(url, topics=[topic], encoding="msgpack") as two:
        numbers = asyncio.gather(read_numbers(one, 500), read_numbers(two, 500))
        await publish_numbers(one, topic, 500)
        assert await numbers == [list(range(500))] * 2


async def test_two_readers_of_one_client_share_the_messages(url: str, topic: str) -> None:
    async with connect(url, topics=[topic]) as client:
        got: list[Any] = []

        async def read() -> None:
            async for event in client:
                got.append(event.payload)
                await asyncio.sleep(0)

        readers = [asyncio.create_task(read()) for _ in range(2)]
        await publish_numbers(client, topic, 500)
        while len(got) < 500:
            await asyncio.sleep(0.01)
        await client.close()
        await asyncio.gather(*readers)
        assert sorted(got) == list(range(500))


async def test_concurrent_sends_keep_their_order(url: str, topic: str) -> None:
    async with connect(url, topics=[topic]) as client:
        await asyncio.gather(*(client.publish(topic, "n", number) for number in range(1000)))
        assert await read_numbers(client, 1000) == list(range(1000))


async def test_a_reader_that_always_finds_messages_lets_others_run(url: str, topic: str) -> None:
    count = 20_000
    async with connect(url, topics=[topic], queue_size=count + 100) as reader, connect(url) as writer:
        await publish_numbers(writer, topic, count)
        while reader.metrics.messages_received < count:
            await asyncio.sleep(0.01)
        longest = 0.0
        reading = asyncio.create_task(slow_read(reader, count))
        while not reading.done():
            before = time.monotonic()
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - before)
        assert await reading > 0.5, "the reader has to work for long to prove anything"
        assert longest < 0.25, f"another task waited {longest:.3f} s"


async def slow_read(client: AsyncWSEClient, count: int) -> float:
    """Reads without waiting for anything but messages, 50 µs of work for each; gives the seconds it took."""
    started = time.monotonic()
    for _ in range(count):
        await anext(client)
        until = time.perf_counter() + 50e-6
        while time.perf_counter() < until:
            pass
    return time.monotonic() - started


async def test_handlers(url: str, topic: str) -> None:
    async with connect(url, topics=[topic]) as client:
        seen: list[Any] = []
        failures: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))

        @client.on("n")
        def plain(event: WSEEvent) -> None:
            seen.append(("plain", event.payload))
            if event.payload == 0:
                raise RuntimeError("a faulty handler")

        @client.on("n")
        async def waiting(event: WSEEvent) -> None:
            await asyncio.sleep(0)
            seen.append(("waiting", event.payload))

        @client.on("*")
        async def every(event: WSEEvent) -> None:
            if event.type == "end":
                await client.close()

        await publish_numbers(client, topic, 2)
        await client.publish(topic, "end")
        await client.run()
        assert seen == [("plain", 0), ("waiting", 0), ("plain", 1), ("waiting", 1)]
        assert [str(failure["exception"]) for failure in failures] == ["a faulty handler"]


@pytest.mark.parametrize(
    ("type", "topic", "code"),
    [("", None, "INVALID_REQUEST"), ("server_ready", None, "INVALID_REQUEST"), ("n", "a*", "INVALID_TOPIC"), ("n", "", "INVALID_TOPIC")],
)
async def test_messages_that_cannot_be_sent(url: str, type: str, topic: str | None, code: str) -> None:
    async with connect(url) as client:
        with pytest.raises(WSERequestError) as caught:
            await client.send(type, {}, topic)
        assert caught.value.code == code


async def test_a_message_over_the_limit_is_refused_here(url: str, topic: str) -> None:
    async with connect(url, compression=False, topics=[topic]) as client:
        with pytest.raises(WSERequestError) as caught:
            await client.publish(topic, "n", "x" * (1 << 20))
        assert caught.value.code == "MESSAGE_TOO_LARGE"
        await client.publish(topic, "n", 1)
        assert await read_numbers(client, 1) == [1]


async def test_topics_that_cannot_be(url: str) -> None:
    async with connect(url) as client:
        for topics in ([], [""], ["a\nb"], ["x" * 257]):
            with pytest.raises(WSEError) as caught:
                await client.subscribe(topics)
            assert caught.value.code in ("INVALID_TOPIC", "INVALID_SUBSCRIPTION")
