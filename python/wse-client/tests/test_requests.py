"""Questions to the server, each with one answer or one error."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from server import Server
from wse_client import (
    AsyncWSEClient,
    WSEConnectionError,
    WSERequestError,
    WSETimeoutError,
    connect,
)


async def test_the_server_tells_what_a_connection_knows(url: str) -> None:
    async with connect(url) as client:
        assert client.server is not None
        for question in ("health_check", "health_check_request"):
            health = await client.request(question)
            assert (health["status"], health["connection_id"]) == ("healthy", client.server.connection_id)
        config = await client.request("config_request")
        assert config["max_message_size"] > 0 and config["encryption_enabled"] is False
        connection = await client.request("connection_state_request")
        assert (connection["state"], connection["rejected"]) == ("connected", 0)
        system = await client.request("system_status_request")
        assert system["server_version"] == client.server.server_version
        sequence = await client.request("sequence_stats_request")
        assert sequence["next_sequence"] == 0
        assert (await client.request("encryption_request", {"action": "status"}))["enabled"] is False
        assert "batch_message" in (await client.request("debug_handlers"))["handlers"]
        assert client.metrics.requests_failed == 0


async def test_answers_are_told_apart_when_many_are_under_way(url: str) -> None:
    async with connect(url, encryption=True) as client:
        kinds = ["health_check", "config_request", "system_status_request"] * 10
        answers = await asyncio.gather(*(client.request(kind) for kind in kinds))
        for kind, answer in zip(kinds, answers):
            assert ("max_topics" in answer) == (kind == "config_request"), (kind, answer)
            assert ("uptime_ms" in answer) == (kind == "health_check"), (kind, answer)


async def test_a_batch_is_answered_message_by_message(url: str, topic: str) -> None:
    async with connect(url, topics=[topic]) as client:
        messages = [
            {"t": "n", "p": 1, "tp": topic, "id": "mine"},
            {"t": "ping", "p": {}},
            {"t": "n", "p": 2, "tp": topic},
        ]
        report = await client.request("batch_message", {"messages": messages})
        assert (report["total"], report["successful"], report["failed"]) == (3, 2, 1)
        assert report["results"][0] == {"id": "mine", "success": True}
        assert report["results"][1] == {"success": False, "error": "INVALID_REQUEST"}
        assert [(await anext(client)).payload for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_a_question_is_json_in_every_encoding(url: str, topic: str, encoding: Literal["json", "msgpack"]) -> None:
    async with connect(url, topics=[topic], encoding=encoding) as client:
        question = {"messages": [{"t": "n", "p": {"raw": b"\x00\xff", "pi": 3.25, "big": 2**63}, "tp": topic}]}
        assert (await client.request("batch_message", question))["successful"] == 1
        assert (await anext(client)).payload == {"raw": "00ff", "pi": 3.25, "big": 2**63}


async def test_a_question_that_nobody_answers_times_out(url: str) -> None:
    async with connect(url, request_timeout=0.1) as client:
        with pytest.raises(WSETimeoutError) as caught:
            await client.request("unanswered_question")
        assert (caught.value.code, caught.value.retryable) == ("TIMEOUT", True)
        assert (client.metrics.requests_pending, client.metrics.requests_failed) == (0, 1)
        assert (await client.request("health_check"))["status"] == "healthy"


async def test_a_refusal_has_the_code_of_the_server(url: str) -> None:
    async with connect(url) as client:
        with pytest.raises(WSERequestError) as caught:
            await client.request("batch_message", {"no": "messages"})
        assert caught.value.code == "INVALID_ENVELOPE"


async def test_a_lost_connection_ends_the_question(own_server: Server) -> None:
    async with connect(own_server.url) as client:
        asking = asyncio.ensure_future(client.request("unanswered_question"))
        while client.metrics.requests_pending == 0:
            await asyncio.sleep(0)
        await asyncio.to_thread(own_server.kill)
        with pytest.raises(WSEConnectionError) as caught:
            await asyncio.wait_for(asking, 5)
        assert caught.value.code == "CONNECTION_CLOSED"
        with pytest.raises(WSEConnectionError) as caught:
            await client.request("health_check")
        assert caught.value.code == "NOT_CONNECTED"


async def test_what_cannot_be_asked_is_refused_at_once(url: str) -> None:
    idle = AsyncWSEClient(url)
    with pytest.raises(WSEConnectionError):
        await idle.request("health_check")
    await idle.close()
    async with connect(url) as client:
        with pytest.raises(WSERequestError, match="server_hello"):
            await client.request("server_hello")
        with pytest.raises(TypeError):
            await client.request("debug_request", object())
        assert client.metrics.frames_rejected == 0
    for call in (client.request("health_check"), client.subscribe("x"), client.reconnect()):
        with pytest.raises(WSEConnectionError) as caught:
            await call
        assert caught.value.code == "CONNECTION_CLOSED"
