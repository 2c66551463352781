"""The programs of the README."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from server import Server
from wse_client import AsyncWSEClient, ConnectionState, WSEEvent, connect

pytestmark = pytest.mark.smoke


async def test_connect_subscribe_iterate(shared_server: Server, topic: str) -> None:
    async with connect(shared_server.url) as client:
        await client.subscribe([topic])
        answer = await asyncio.to_thread(shared_server.publish, topic, "greeting", {"text": "hello", "n": 1})
        assert answer["delivered"] == 1
        async for event in client:
            assert isinstance(event, WSEEvent)
            assert (event.type, event.payload) == ("greeting", {"text": "hello", "n": 1})
            assert event.topic == topic
            assert event.category == "U"
            assert event.id == answer["id"]
            assert event.timestamp is not None and event.timestamp.endswith("Z")
            assert event.sequence is None, "messages of topics carry none"
            assert event.payload is event.payload, "made once"
            break


async def test_await_connect_and_close(url: str) -> None:
    client = await connect(url)
    assert client.state is ConnectionState.CONNECTED
    server = client.server
    assert server is not None and server.endpoint.startswith(url) and not server.encrypted
    await client.close()
    assert client.state is ConnectionState.CLOSED
    assert client.server is None
    assert [event async for event in client] == [], "a closed client has an end"
    await client.close()


async def test_a_client_is_a_context_manager_too_and_connects_once(url: str, topic: str) -> None:
    async with AsyncWSEClient(url, topics=[topic]) as client:
        async with client as same:
            assert same is client
            assert client.metrics.connections == 1
            await client.publish(topic, "ping-me", [1, 2, 3])
            event = await anext(client)
            assert event.payload == [1, 2, 3]


async def test_pattern_matching(url: str, topic: str) -> None:
    async with connect(url, topics=[topic]) as client:
        await client.publish(topic, "price", {"eur": 5})
        match await anext(client):
            case WSEEvent("price", {"eur": eur}):
                assert eur == 5
            case other:
                pytest.fail(repr(other))


def test_example_program_prints_the_feed(shared_server: Server) -> None:
    program = Path(__file__).parents[3] / "examples" / "python" / "feed.py"
    with subprocess.Popen(
        [sys.executable, str(program), shared_server.url, "--count", "3"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None:
            shared_server.publish("host:cpu", "cpu", {"percent": 12.5})
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        assert process.stdout is not None
        output = process.stdout.read()
    assert process.returncode == 0
    assert output.splitlines() == ["host:cpu      cpu               {'percent': 12.5}"] * 3
