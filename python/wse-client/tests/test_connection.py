"""Coming, going, and coming back; and what the client says when it cannot."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from conftest import SECRET, server_binary
from server import Server, free_port, token
from wse_client import (
    AsyncWSEClient,
    ConnectOptions,
    ConnectionState,
    WSEAuthError,
    WSEConfigError,
    WSEConnectionError,
    WSEEncryptionError,
    WSEError,
    WSERequestError,
    WSESubscriptionError,
    WSETimeoutError,
    connect,
)

FAST: dict[str, Any] = {"initial_delay": 0.02, "max_delay": 0.1}


async def until(client: AsyncWSEClient, state: ConnectionState) -> None:
    while client.state is not state:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1/wse", "must start with ws:// or wss://"),
        ("127.0.0.1:5006", "must start with ws:// or wss://"),
        ("ws://", "names no host"),
        ("ws://127.0.0.1:99999/wse", "port that is not a number"),
        ("ws://user:secret@host/wse", "use a token"),
    ],
)
def test_wrong_address(url: str, why: str) -> None:
    with pytest.raises(WSEConfigError) as caught:
        connect(url)
    assert isinstance(caught.value, ValueError)
    assert caught.value.code == "INVALID_CONFIG" and not caught.value.retryable
    assert str(caught.value).startswith("url: ") and why in str(caught.value)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"tokn": "x"}, "connect() got an unexpected keyword argument 'tokn'; did you mean 'token'?"),
        ({"max_retry": 1}, "did you mean 'max_retries'?"),
        ({"xyz": 1}, "options are adaptive_quality, backoff_multiplier, backoff_strategy"),
        ({"token": 5}, "token: must be a str, not int"),
        ({"topics": "news"}, "topics: must be several str, for example a list, not str"),
        ({"encryption": 1}, "encryption: must be True or False, not int"),
        ({"queue_size": "many"}, "queue_size: must be a whole number from 1 to 1000000, not str"),
        ({"initial_delay": None}, "initial_delay: must be a number, not NoneType"),
    ],
)
def test_option_of_the_wrong_name_or_type(option: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError) as caught:
        connect("ws://127.0.0.1/wse", **option)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"encoding": "xml"}, 'encoding: must be one of "json", "text", "msgpack", not \'xml\''),
        ({"backoff_multiplier": 0.5}, "backoff_multiplier: must lie between 1 and 10"),
        ({"initial_delay": 5, "max_delay": 1}, "max_delay: must not be shorter than initial_delay"),
        ({"heartbeat_interval": 0}, "heartbeat_interval: must be at least 1 ms"),
        ({"dial_timeout": 0.0}, "dial_timeout: must be at least 1 ms"),
        ({"ready_timeout": -1}, "ready_timeout: must be a number of seconds"),
        ({"subscribe_timeout": float("nan")}, "subscribe_timeout: must be a number of seconds"),
        ({"queue_size": 0}, "queue_size: must be a whole number from 1 to 1000000, not 0"),
        ({"max_retries": -1}, "max_retries: must be a whole number from 0"),
        ({"topics": ["a\nb"]}, "topics: "),
        ({"endpoints": ["http://b"]}, "must start with ws:// or wss://"),
        ({"batch_timeout": 6}, "batch_timeout: must be at most 5 s"),
        ({"pool_preferred": "ws://elsewhere"}, "pool_preferred: must be one of the endpoints"),
        ({"pool_strategy": "best"}, 'pool_strategy: must be one of "weighted_random", "least_connections", "round_robin"'),
        ({"signing": True}, "signing_key: is needed for signing"),
        ({"signing_key": "short"}, "signing_key: must have at least 32 bytes"),
        ({"offline_max_size": 0}, "offline_max_size: must be a whole number from 1 to 1000000"),
    ],
)
def test_option_with_a_value_that_cannot_be(option: dict[str, Any], text: str) -> None:
    with pytest.raises(WSEConfigError) as caught:
        connect("ws://127.0.0.1/wse", **option)
    assert text in str(caught.value)


async def test_nobody_listens() -> None:
    with pytest.raises(WSETimeoutError) as caught:
        async with connect(f"ws://127.0.0.1:{free_port()}/wse", connect_timeout=0.3, **FAST):
            pytest.fail("connected to nobody")
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.code == "TIMEOUT" and caught.value.retryable
    assert "CONNECT_FAILED" in str(caught.value), "the reason of the last attempt is told"


async def test_giving_up_after_so_many_retries() -> None:
    with pytest.raises(WSEConnectionError) as caught:
        await connect(f"ws://127.0.0.1:{free_port()}/wse", max_retries=2, **FAST)
    assert caught.value.code == "RETRIES_EXHAUSTED"


async def test_a_server_that_never_speaks_does_not_hang_the_client() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(WSETimeoutError):
            await connect(f"ws://127.0.0.1:{port}/wse", dial_timeout=0.1, connect_timeout=0.5, **FAST)


async def test_failed_connect_may_be_repeated(own_server: Server) -> None:
    own_server.kill()
    client = AsyncWSEClient(own_server.url, connect_timeout=0.2, **FAST)
    with pytest.raises(WSETimeoutError):
        await client.connect()
    own_server.start()
    await client.connect()
    assert client.state is ConnectionState.CONNECTED
    await client.close()


async def test_use_before_connect_and_after_close(url: str) -> None:
    client = AsyncWSEClient(url)
    assert client.state is ConnectionState.IDLE
    for call in (client.send("n"), client.subscribe("a"), anext(client)):
        with pytest.raises(WSEConnectionError) as caught:
            await call  # type: ignore[misc]
        assert caught.value.code == "NOT_CONNECTED"
    await client.close()
    with pytest.raises(WSEConnectionError) as caught:
        await client.connect()
    assert caught.value.code == "CONNECTION_CLOSED"


async def test_good_token(guarded_server: Server) -> None:
    rights = {"wse_publish": {"allow": ["room:*"]}, "wse_topics": {"allow": ["room:*"], "deny": ["room:secret"]}}
    async with connect(guarded_server.url, token=token(SECRET, sub="anna", **rights)) as client:
        assert client.server is not None and client.server.user_id == "anna"
        await client.subscribe(["room:1"])
        await client.publish("room:1", "chat", "hello")
        assert (await anext(client)).payload == "hello"
        with pytest.raises(WSESubscriptionError) as caught:
            await client.subscribe(["room:secret", "room:2"])
        assert caught.value.code == "TOPIC_DENIED"
        assert list(caught.value.refused) == ["room:secret"] and caught.value.accepted == ("room:2",)
        refused = await client.publish("elsewhere", "chat", "hello")
        event = await anext(client)
        assert (event.type, event.payload["code"]) == ("error", "PUBLISH_DENIED")
        assert event.correlation_id == refused


@pytest.mark.parametrize("name", ["none", "expired", "wrongly signed", "nonsense"])
async def test_bad_token(guarded_server: Server, name: str) -> None:
    bad = {
        "none": None,
        "expired": token(SECRET, expires_in=-3600),
        "wrongly signed": token("another secret of at least 32 bytes!"),
        "nonsense": "nonsense",
    }[name]
    with pytest.raises(WSEAuthError) as caught:
        async with connect(guarded_server.url, token=bad, **FAST):
            pytest.fail("let in")
    assert isinstance(caught.value, PermissionError)
    assert caught.value.code == ("AUTH_REQUIRED" if bad is None else "AUTH_FAILED")
    assert not caught.value.retryable
    assert bad is None or bad not in str(caught.value)


async def test_token_from_a_function_is_asked_at_each_attempt(guarded_server: Server) -> None:
    asked = 0

    async def provider() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        if asked == 1:
            raise RuntimeError("the login server has a cold")
        return "nonsense" if asked == 2 else token(SECRET)

    async with connect(guarded_server.url, token=provider, **FAST) as client:
        assert asked == 3
        assert client.server is not None and client.server.user_id == "tester"
    async with connect(guarded_server.url, token=lambda: token(SECRET, sub="plain")) as client:
        assert client.server is not None and client.server.user_id == "plain"


async def test_a_token_function_that_never_works_says_why(guarded_server: Server) -> None:
    def provider() -> str:
        raise LookupError("no such user")

    with pytest.raises(WSEError) as caught:
        await connect(guarded_server.url, token=provider, max_retries=1, **FAST)
    assert "LookupError: no such user" in str(caught.value)
    with pytest.raises(WSEError) as caught:
        await connect(guarded_server.url, token=lambda: 5, max_retries=1, **FAST)  # type: ignore[arg-type,return-value]
    assert "the token provider returned int, not str" in str(caught.value)


async def test_a_token_that_is_set_is_the_one_of_the_next_connect(guarded_server: Server) -> None:
    client = AsyncWSEClient(guarded_server.url, token="nonsense", **FAST)
    with pytest.raises(WSEAuthError):
        await client.connect()
    client.set_token(token(SECRET, sub="second"))
    async with client:
        assert client.server is not None and client.server.user_id == "second"
        client.set_token(token(SECRET, sub="third"))
        assert client.server.user_id == "second", "it counts for the next attempt"
        await client.reconnect()
        assert client.server is not None and client.server.user_id == "third"
        client.set_token(None)
        with pytest.raises(WSEAuthError) as caught:
            await client.reconnect()
        assert caught.value.code == "AUTH_REQUIRED"
    client.set_token("after the end")


async def test_a_token_that_is_set_frees_a_client_that_failed_for_want_of_it(guarded_server: Server, topic: str) -> None:
    def good(user: str) -> str:
        return token(SECRET, sub=user, wse_publish={"allow": [topic]})

    async with connect(guarded_server.url, token=good("first"), max_retries=1, **FAST) as client:
        client.set_token("nonsense")
        with pytest.raises(WSEError):
            await client.reconnect()
        await until(client, ConnectionState.FAILED)
        with pytest.raises(WSEError) as caught:
            async for event in client:
                assert (event.type, event.payload["code"]) == ("error", "AUTH_FAILED")
        assert caught.value.code == "RETRIES_EXHAUSTED"
        client.set_token(good("back"))
        await until(client, ConnectionState.CONNECTED)
        assert client.server is not None and client.server.user_id == "back"
        await client.subscribe(topic)
        await client.publish(topic, "n", 1)
        assert (await anext(client)).payload == 1


async def test_a_token_that_is_set_comes_before_the_function_once(guarded_server: Server) -> None:
    client = AsyncWSEClient(guarded_server.url, token=lambda: token(SECRET, sub="function"), **FAST)
    client.set_token(token(SECRET, sub="set"))
    async with client:
        assert client.server is not None and client.server.user_id == "set"
        await client.reconnect()
        assert client.server is not None and client.server.user_id == "function"
        client.set_token(token(SECRET, sub="set"))
        await client.reconnect()
        assert client.server is not None and client.server.user_id == "set"


async def test_server_restart_comes_back_and_resubscribes(own_server: Server, topic: str) -> None:
    async with connect(own_server.url, topics=[topic], **FAST) as client:
        await client.publish(topic, "n", 1)
        assert (await anext(client)).payload == 1
        for kill in (own_server.stop, own_server.kill):
            await asyncio.to_thread(kill)
            await until(client, ConnectionState.RECONNECTING)
            await asyncio.to_thread(own_server.start)
            await until(client, ConnectionState.CONNECTED)
            await client.publish(topic, "n", 2)
            lost = await anext(client)
            assert (lost.type, lost.topic) == ("lost", topic), "the history of the old process is gone"
            assert (await anext(client)).payload == 2
        assert client.metrics.connections == 3


async def test_what_is_sent_while_the_server_is_away_arrives_once_by_priority(own_server: Server, topic: str) -> None:
    async with connect(own_server.url, topics=[topic], **FAST) as client:
        await asyncio.to_thread(own_server.kill)
        await until(client, ConnectionState.RECONNECTING)
        for payload, priority in ((1, 1), (2, 5), (3, 10)):
            await client.send("n", payload, topic, priority=priority)
        assert client.metrics.messages_queued == 3
        await asyncio.to_thread(own_server.start)
        assert (await anext(client)).type == "lost", "the history of the old process is gone"
        assert [(await anext(client)).payload for _ in range(3)] == [3, 2, 1]
        await client.publish(topic, "n", 4)
        assert (await anext(client)).payload == 4
        assert client.metrics.messages_queued == 0


async def test_with_offline_false_sending_while_the_server_is_away_is_refused(own_server: Server, topic: str) -> None:
    async with connect(own_server.url, offline=False, **FAST) as client:
        await asyncio.to_thread(own_server.kill)
        await until(client, ConnectionState.RECONNECTING)
        with pytest.raises(WSEConnectionError) as caught:
            await client.publish(topic, "n", 0)
        assert caught.value.code == "NOT_CONNECTED"


async def test_what_is_sent_while_the_first_connect_runs_goes_out_with_it(own_server: Server, topic: str) -> None:
    await asyncio.to_thread(own_server.stop)
    client = AsyncWSEClient(own_server.url, **FAST)
    connecting = asyncio.ensure_future(client.connect())
    while client.state is ConnectionState.IDLE:
        await asyncio.sleep(0.01)
    await client.publish(topic, "n", 1)
    assert (client.metrics.messages_queued, client.metrics.messages_sent) == (1, 0)
    await asyncio.to_thread(own_server.start)
    await connecting
    assert (client.metrics.messages_queued, client.metrics.messages_sent) == (0, 1)
    await client.close()


async def test_what_is_kept_too_long_is_told(own_server: Server, topic: str) -> None:
    async with connect(own_server.url, offline_max_age=0.05, **FAST) as client:
        await asyncio.to_thread(own_server.kill)
        await until(client, ConnectionState.RECONNECTING)
        kept = await client.send("n", 1, topic, priority=8)
        event = await asyncio.wait_for(anext(client), 5)
        assert event.type == "dropped"
        assert event.payload == {"id": kept, "priority": 8, "reason": "expired"}
        assert event.topic is None
        assert client.metrics.messages_dropped == 1


async def test_subscribing_while_the_server_is_away_works_later(own_server: Server, topic: str) -> None:
    async with connect(own_server.url, subscribe_timeout=0.05, **FAST) as client:
        own_server.kill()
        await until(client, ConnectionState.RECONNECTING)
        assert not (await client.subscribe(topic)).confirmed
        await asyncio.to_thread(own_server.start)
        await until(client, ConnectionState.CONNECTED)
        await client.publish(topic, "n", 1)
        assert (await anext(client)).payload == 1


async def test_server_killed_for_good_ends_the_iterator_with_an_error(own_server: Server, topic: str) -> None:
    async with connect(own_server.url, topics=[topic], max_retries=2, **FAST) as client:
        await client.publish(topic, "n", 1)
        while client.metrics.messages_received == 0:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(own_server.kill)
        got: list[Any] = []
        for _ in range(2):
            with pytest.raises(WSEConnectionError) as caught:
                async for event in client:
                    got.append(event.payload)
            assert caught.value.code == "RETRIES_EXHAUSTED"
        assert got == [1], "what was received is handed over first"
        assert client.state is ConnectionState.FAILED
        await asyncio.to_thread(own_server.start)
        await client.reconnect()
        await client.publish(topic, "n", 2)
        assert (await anext(client)).type == "lost", "the history of the old process is gone"
        assert (await anext(client)).payload == 2


async def test_reconnect_by_hand(url: str, topic: str) -> None:
    async with connect(url, topics=[topic]) as client:
        await client.reconnect()
        assert client.metrics.connections == 2
        await client.publish(topic, "n", 1)
        assert (await anext(client)).payload == 1


async def test_a_second_endpoint_takes_over(url: str) -> None:
    async with connect(f"ws://127.0.0.1:{free_port()}/wse", endpoints=[url], **FAST) as client:
        assert client.server is not None and client.server.endpoint == url


async def test_close_ends_a_waiting_reader(url: str) -> None:
    async with connect(url) as client:
        reading = asyncio.create_task(anext(client, None))  # type: ignore[arg-type]
        await asyncio.sleep(0.05)
        await client.close()
        assert await reading is None


async def test_cancelled_connect_leaves_nothing_behind() -> None:
    async def attempt() -> None:
        async with connect(f"ws://127.0.0.1:{free_port()}/wse"):
            pytest.fail("connected to nobody")

    task = asyncio.create_task(attempt())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_server_is_an_event(url: str) -> None:
    async with connect(url) as client:
        with pytest.raises(WSERequestError):
            await client.send("client_hello", {})
        assert client.state is ConnectionState.CONNECTED


async def test_hints_of_the_program(own_server: Server) -> None:
    own_server.stop()
    client = AsyncWSEClient(own_server.url, initial_delay=60, max_delay=60)
    client.network_hint("online")  # nothing to do yet, and no error
    connecting = asyncio.ensure_future(client.connect())
    while not client.metrics.failed_attempts:
        await asyncio.sleep(0.01)
    own_server.start()
    client.network_hint("online")
    await asyncio.wait_for(connecting, 5)
    with pytest.raises(WSEConfigError) as caught:
        client.network_hint("earthquake")  # type: ignore[arg-type]
    assert "hint: must be one of offline, online, address_changed, sleep, wake" in str(caught.value)
    await client.close()


async def test_a_list_of_addresses_and_the_preferred_one(url: str) -> None:
    nobody = f"ws://127.0.0.1:{free_port()}/wse"
    async with connect([nobody, url], pool_strategy="round_robin", pool_preferred=url, **FAST) as client:
        assert client.server is not None and client.server.endpoint == url
        assert client.metrics.failed_attempts == 0
    async with connect([nobody, url], pool_preferred=nobody, **FAST) as client:
        assert client.server is not None and client.server.endpoint == url


async def test_keys_are_renewed_when_asked(url: str, topic: str) -> None:
    async with connect(url, topics=[topic], encryption=True, rotate_after=None) as client:
        client.rotate_keys()
        await client.publish(topic, "n", 1)
        assert (await anext(client)).payload == 1
    async with connect(url) as client:
        with pytest.raises(WSEEncryptionError) as caught:
            client.rotate_keys()
        assert caught.value.code == "ENCRYPTION_REQUIRED"
        with pytest.raises(WSERequestError):
            client.set_channel_token("", "x")
        client.set_channel_token(topic, "x")
        client.set_channel_token(topic, None)


async def test_signed_messages_are_checked_by_a_server_that_knows_the_key(topic: str) -> None:
    key, other = "k" * 32, "o" * 32
    with Server(server_binary(), "--signing-key", key) as server:
        async with connect(server.url, topics=[topic], signing=True, signing_key=key, signing_form="jwt") as client:
            await client.publish(topic, "n", 1)
            assert (await anext(client)).payload == 1
            forging = connect(server.url, signing=True, signing_key=other, signing_types=["order"])
            async with forging as forger:
                for topic_or_none, type in ((topic, "n"), (None, "order")):
                    await forger.send(type, 2, topic_or_none)
                    refused = await asyncio.wait_for(anext(forger), 5)
                    assert (refused.type, refused.payload["code"]) == ("error", "SIGNATURE_INVALID")
            await client.publish(topic, "n", 3)
            assert (await anext(client)).payload == 3, "what the forger sent did not arrive"


async def test_a_recording_is_written_when_the_client_ends(url: str, tmp_path: Path) -> None:
    file = tmp_path / "flight.jsonl"
    async with connect(url, record=file) as client:
        assert client.recording
        assert not file.exists()
        await client.send("secret", {"text": "canary"})
    assert file.stat().st_size > 100
    assert b"canary" not in file.read_bytes()
    async with connect(url) as client:
        assert client.recording is None


def test_options_are_those_of_the_shared_table() -> None:
    shared = json.loads((Path(__file__).parents[3] / "tests/vectors/settings.json").read_text())
    table = {row["keyword"] for row in shared["settings"]} | set(shared["own"]["python"])
    assert set(ConnectOptions.__annotations__) == table
    hints = get_type_hints(ConnectOptions)
    for row in shared["settings"]:
        if "words" in row:
            assert list(get_args(hints[row["keyword"]])) == row["words"]
