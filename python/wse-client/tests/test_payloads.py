"""Values survive the way there and back, in every form of the wire."""

from __future__ import annotations

import asyncio
import enum
import uuid
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from server import Server
from wse_client import connect

FORMS: dict[str, dict[str, Any]] = {
    "plain": {"compression": False},
    "compressed": {},
    "msgpack": {"encoding": "msgpack"},
    "encrypted": {"encryption": True},
    "encrypted-msgpack": {"encryption": True, "encoding": "msgpack"},
}


class Colour(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


SAME = {
    "null": None,
    "flags": [True, False],
    "integers": [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1],
    "floats": [0.0, -0.5, 1e300, 5e-324, 0.1 + 0.2],
    "text": ["", "plain", 'quote " backslash \\ slash /', "\u0000\u001f\u2028", "žluťoučký 🐎", "x" * 3000],
    "nested": {"a": [{"b": [[], {}]}]},
    "Key": 1,
    "key": 2,
    "": "empty key",
    "tuple becomes list": [1, [2, 3]],
}


@pytest.mark.smoke
@pytest.mark.parametrize("form", FORMS)
async def test_round_trip(url: str, topic: str, form: str) -> None:
    async with connect(url, topics=[topic], **FORMS[form]) as client:
        assert client.server is not None and client.server.encrypted == ("encrypted" in form)
        for value in (SAME, {"small": 1}, [], "text", 5, None):
            sent = await client.send("value", value, topic)
            event = await anext(client)
            assert event.id == sent
            assert event.payload == value
            assert repr(event.payload) == repr(value), "types and order of keys too"


async def test_what_has_a_form_of_its_own(url: str, topic: str) -> None:
    value = {
        "datetime": datetime(2026, 2, 20, 15, 30, tzinfo=timezone.utc),
        "date": date(2026, 2, 20),
        "decimal": Decimal("1.10"),
        "uuid": uuid.UUID(int=5),
        "enum": Colour.RED,
        "int enum": Size.BIG,
        "beyond 64 bits": 2**64,
        "bytes": b"\x00\xff",
        "tuple": (1, 2),
        7: "int key",
        Colour.RED: "enum key",
    }
    expected = {
        "datetime": "2026-02-20T15:30:00+00:00",
        "date": "2026-02-20",
        "decimal": "1.10",
        "uuid": "00000000-0000-0000-0000-000000000005",
        "enum": "red",
        "int enum": 3,
        "beyond 64 bits": "18446744073709551616",
        "bytes": "00ff",
        "tuple": [1, 2],
        "7": "int key",
        "red": "enum key",
    }
    async with connect(url, topics=[topic]) as client:
        await client.publish(topic, "value", value)
        assert (await anext(client)).payload == expected
    async with connect(url, topics=[topic], encoding="msgpack") as client:
        await client.publish(topic, "value", value)
        assert (await anext(client)).payload == expected | {"bytes": b"\x00\xff"}


async def test_big_numbers_of_others_stay_numbers(shared_server: Server, topic: str) -> None:
    """A peer in another language may send integers beyond 64 bits."""
    payload = {"n": 123456789012345678901234567890, "minus": -(2**64), "edge": 2**64, "text": "\U0001f600"}
    async with connect(shared_server.url, topics=[topic]) as client:
        await asyncio.to_thread(shared_server.publish, topic, "big", payload)
        assert (await anext(client)).payload == payload


def _loop() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ({"a": [1, float("nan")]}, ValueError, "payload['a'][1] is NaN, which JSON cannot hold"),
        ([float("-inf")], ValueError, "payload[0] is -inf"),
        ({"a": {1, 2}}, TypeError, "payload['a'] is of type set"),
        (object(), TypeError, "payload is of type object"),
        ({"a": {1.5: 2}}, TypeError, "payload['a'][1.5] has a key of type float"),
        ("\ud800", ValueError, "payload has a lone surrogate"),
        (_loop(), ValueError, "nests deeper than 64, or contains itself"),
    ],
)
async def test_what_cannot_be_written_says_where(url: str, value: Any, error: type[Exception], text: str) -> None:
    for encoding in ("json", "msgpack"):
        async with connect(url, encoding=encoding) as client:  # type: ignore[arg-type]
            with pytest.raises(error) as caught:
                await client.send("value", value)
            assert text in str(caught.value)
            assert client.metrics.messages_sent == 0
