"""What a client tells of itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from server import Server
from wse_client import AsyncWSEClient, ConnectionState, connect

VECTORS = Path(__file__).parents[3] / "tests" / "vectors" / "metrics.json"


def names(figures: Any) -> Any:
    """Names as in the list, with ``None`` in place of units."""
    if dataclasses.is_dataclass(figures):
        return {field.name: names(getattr(figures, field.name)) for field in dataclasses.fields(figures)}
    if isinstance(figures, tuple) and figures and dataclasses.is_dataclass(figures[0]):
        return [names(figures[0])]
    return None


def without_units(listed: Any) -> Any:
    if isinstance(listed, dict):
        return {name: without_units(value) for name, value in listed.items()}
    return [without_units(listed[0])] if isinstance(listed, list) else None


async def test_names_are_those_of_the_list(own_server: Server) -> None:
    listed = without_units(json.loads(VECTORS.read_text()))
    async with connect(own_server.url) as client:
        await client.reconnect()
        assert names(client.metrics) == listed["metrics"]
        assert client.diagnostics.last_disconnect is not None
        assert names(client.diagnostics) == listed["diagnostics"]


async def test_figures_follow_what_happens(url: str, topic: str) -> None:
    async with connect(url, topics=[topic]) as client:
        for n in range(5):
            await client.publish(topic, "n", n)
        for _ in range(5):
            await anext(client)
        metrics = client.metrics
        assert (metrics.messages_accepted, metrics.messages_sent, metrics.messages_dropped) == (5, 5, 0)
        assert (metrics.messages_received, metrics.connections, metrics.reconnect_count) == (5, 1, 0)
        assert metrics.queue.capacity == 1000 and metrics.queue.normal.waiting == 0
        assert metrics.message_rate > 0 and metrics.bandwidth > 0
        assert metrics.connected_for_ms is not None and metrics.connected_since_ms is not None
        diagnostics = client.diagnostics
        assert (diagnostics.state, diagnostics.endpoint) == (ConnectionState.CONNECTED, url)
        assert (diagnostics.full_duplex, diagnostics.encrypted, diagnostics.encoding) == (True, False, "binary")
        assert (diagnostics.circuit_breaker, diagnostics.topics) == ("CLOSED", 1)
        assert diagnostics.endpoints[0].active and diagnostics.endpoints[0].connections == 1


async def test_before_the_start_there_is_nothing_to_tell(url: str) -> None:
    client = AsyncWSEClient(url)
    assert client.metrics.connections == 0
    assert client.diagnostics.state is ConnectionState.IDLE
    await client.close()


async def test_a_known_notice_says_what_it_is(url: str, topic: str) -> None:
    async with connect(url, topics=[topic]) as client:
        for kind in ("portfolio_snapshot", "config_update", "n"):
            await client.publish(topic, kind, {})
        assert [(await anext(client)).notice for _ in range(3)] == ["snapshot", "config_update", None]
