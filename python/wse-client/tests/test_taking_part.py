"""Seen in topics, and sharing their messages with others, over connections that break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from conftest import SECRET, server_binary
from server import Server, token
from wse_client import AsyncWSEClient, WSEError, WSERequestError, connect

Change = tuple[str, str, Any]


def as_user(server: Server, user: str) -> AsyncWSEClient:
    """A client that is this user, and may publish everywhere."""
    everything = {"allow": ["*"], "deny": []}
    return AsyncWSEClient(server.url, token=token(SECRET, sub=user, wse_publish=everything))


async def changes(client: AsyncWSEClient) -> AsyncIterator[Change]:
    """What the client hears of presence."""
    async for event in client:
        change = event.presence
        if change is None:
            assert event.notice is None, event
            continue
        assert (event.notice, event.payload) == (event.type, change)
        yield event.type, change["user_id"], change["data"]


@pytest.fixture
def own_guarded_server() -> Iterator[Server]:
    with Server(server_binary(), secret=SECRET) as server:
        yield server


async def test_two_users_see_each_other_come_change_and_go(own_guarded_server: Server, topic: str) -> None:
    async with as_user(own_guarded_server, "ann") as ann, as_user(own_guarded_server, "bob") as bob:
        assert (await ann.subscribe(topic, presence=True)).present == {topic: 1}
        assert (await bob.subscribe([topic], presence={"mood": "fine"})).present == {topic: 2}
        await bob.subscribe(topic, presence=["away"])
        assert (await bob.subscribe(topic)).present == {topic: 2}, "what is left out stays as it is"
        heard = changes(ann)
        assert [await anext(heard) for _ in range(3)] == [
            ("presence_join", "ann", None),
            ("presence_join", "bob", {"mood": "fine"}),
            ("presence_update", "bob", ["away"]),
        ]
        await asyncio.to_thread(own_guarded_server.kill)
        await asyncio.to_thread(own_guarded_server.start)
        for client in (ann, bob):
            await client.reconnect()
        # A server that knew nobody: what each tells was said again by itself.
        while (page := await ann.presence(topic))["total"] < 2:
            await asyncio.sleep(0.001)
        assert [member["data"] for member in page["members"]] == [None, ["away"]]
        await bob.subscribe(topic, presence=False)
        again = [await anext(heard)]
        while again[-1][0] != "presence_leave":
            again.append(await anext(heard))
        assert again[-1] == ("presence_leave", "bob", ["away"])
        assert {kind for kind, _, _ in again[:-1]} <= {"presence_join"}, again
        assert await bob.presence(topic) == {
            "topic": topic,
            "total": 1,
            "members": [{"user_id": "ann", "data": None}],
            "more": False,
        }


async def test_who_is_there_is_told_in_pages(guarded_server: Server, topic: str) -> None:
    names = ["ann", "bob", "cem"]
    clients = [as_user(guarded_server, name) for name in names]
    for n, client in enumerate(clients):
        await (await client.connect()).subscribe(topic, presence=n)
    page = await clients[0].presence(topic, limit=2)
    assert (page["total"], page["more"], [member["data"] for member in page["members"]]) == (3, True, [0, 1])
    page = await clients[0].presence(topic, after=page["members"][-1]["user_id"], limit=2)
    assert (page["total"], page["more"], page["members"]) == (3, False, [{"user_id": "cem", "data": 2}])
    assert (await clients[0].presence(topic, limit=0))["members"] == []
    with pytest.raises(WSEError) as caught:
        await clients[0].presence("a*")
    assert caught.value.code == "INVALID_TOPIC"
    for client in clients:
        await client.close()


async def gather_jobs(clients: list[AsyncWSEClient], heard: list[list[int]], total: int) -> None:
    """Reads until so many jobs came to all together."""

    async def read(client: AsyncWSEClient, own: list[int]) -> None:
        async for event in client:
            assert event.type == "job", event
            own.append(event.payload)

    readers = [asyncio.ensure_future(read(client, own)) for client, own in zip(clients, heard)]
    while sum(map(len, heard)) < total:
        await asyncio.sleep(0.001)
    for reader in readers:
        reader.cancel()
    results = await asyncio.gather(*readers, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results), results


async def test_three_members_share_300_messages_each_once(own_server: Server, topic: str) -> None:
    clients = [await AsyncWSEClient(own_server.url).connect() for _ in range(3)]
    for client in clients:
        await client.subscribe(topic, group="workers")
    heard: list[list[int]] = [[], [], []]
    for n in range(150):
        assert (await asyncio.to_thread(own_server.publish, topic, "job", n))["delivered"] == 1
    await gather_jobs(clients, heard, 150)

    await asyncio.to_thread(own_server.kill)
    await asyncio.to_thread(own_server.start)
    for client in clients:
        await client.reconnect()
        assert (await client.subscribe(topic)).confirmed
    for n in range(150, 300):
        assert (await asyncio.to_thread(own_server.publish, topic, "job", n))["delivered"] == 1
    await gather_jobs(clients, heard, 300)
    assert sorted(sum(heard, [])) == list(range(300))
    assert all(len(own) > 50 for own in heard), [len(own) for own in heard]
    for client in clients:
        await client.close()


def bad_options() -> Iterator[tuple[dict[str, Any], str]]:
    for group in ("", "a\n", "g" * 65):
        yield {"group": group}, "INVALID_SUBSCRIPTION"
    yield {"presence": "x" * 4095}, "MESSAGE_TOO_LARGE"


@pytest.mark.parametrize(("options", "code"), bad_options())
async def test_what_cannot_be_wished_is_refused_at_the_call(
    url: str, topic: str, options: dict[str, Any], code: str
) -> None:
    async with connect(url) as client:
        with pytest.raises(WSERequestError) as caught:
            await client.subscribe(topic, **options)
        assert caught.value.code == code
        with pytest.raises(WSERequestError) as caught:
            await client.subscribe(topic + "*", presence=True)
        assert caught.value.code == "INVALID_TOPIC"
        with pytest.raises(TypeError):
            await client.subscribe(topic, presence=object())
        assert await client.presence(topic) == {"topic": topic, "total": 0, "members": [], "more": False}
