"""The client for asyncio programs."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, overload

from ._bridge import Bridge
from ._core import Core, WSEEvent
from .errors import WSESubscriptionError
from .metrics import Diagnostics, Metrics, _diagnostics, _metrics
from .options import check_names
from .types import ConnectionState, ServerInfo, Subscription

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from . import requests
    from .options import ConnectOptions

__all__ = ["AsyncWSEClient", "Connecting", "connect"]

Handler = Callable[[WSEEvent], Union[None, Awaitable[None]]]
H = TypeVar("H", bound=Handler)

_NO_PAYLOAD: Any = object()


class AsyncWSEClient:
    """One logical connection that stays up, as an async iterator of :class:`WSEEvent`.

    ``async with`` connects and closes. Iterating yields the messages of the application, messages of type ``error``
    from the server, and ``lost`` notices (payload ``{"topic", "count"}``, either may be ``None``; of a recoverable
    topic with ``epoch``, ``from`` and ``to``) for messages that will never come, and ``dropped`` notices (payload
    ``{"id", "priority", "reason"}``) for messages of this program that were accepted and will not be sent. After any
    loss of the connection the client comes back by itself and asks for its topics again. The iterator ends after :meth:`close`, and raises a :class:`WSEError` when the connection failed for
    good.

    A program that is slow to iterate loses nothing: the socket is not read while the queue is full, and the server
    waits. Cancelling any call loses no event.

    A client belongs to the event loop that uses it first. Its methods must be called there.

    Args:
        url: ``ws://`` or ``wss://`` address, for example ``"ws://127.0.0.1:5006/wse"``, or several of equal servers.
        **options: See :class:`ConnectOptions`.

    Raises:
        TypeError: An option that does not exist; the text names the nearest one.
        WSEConfigError: An option with a value that cannot be used.
    """

    def __init__(self, url: str | Iterable[str], **options: Unpack[ConnectOptions]) -> None:
        check_names(type(self).__name__, options)
        settings: dict[str, Any] = dict(options)
        provider = settings.get("token") if callable(settings.get("token")) else None
        if provider is not None:
            del settings["token"]
        self._core = Core(url, settings, provider is not None)
        self._bridge = Bridge(self._core, provider)
        self._batch: list[WSEEvent] = []
        self._next = 0
        self._handlers: dict[str, list[Handler]] = {}
        self._handling: asyncio.Task[None] | None = None
        self._full = asyncio.Lock()

    # -- connection ---------------------------------------------------------------------------------------------------

    async def connect(self) -> Self:
        """Connects, and returns this client when the server is ready and has answered for the option ``topics``. Does
        nothing if it is. After an error it may be called again.

        Raises:
            WSESubscriptionError: The server refused some of the topics; it is connected all the same.
            WSEConnectionError: The server cannot be reached.
            WSETimeoutError: It was not ready in time.
            WSEAuthError: It refused the token or the origin, or the token function failed.
            WSEEncryptionError: No key could be agreed.
        """
        outcome = await self._bridge.call(self._core.connect)
        if outcome is not None:
            _outcome(outcome)
        return self

    async def reconnect(self) -> Self:
        """Drops the present connection, if there is one, and connects anew; also after a failure.

        Raises:
            WSEError: As :meth:`connect`.
        """
        await self._bridge.call(self._core.reconnect)
        return self

    async def close(self) -> None:
        """Says goodbye to the server and ends the client. Iterators end after what was received. May be repeated."""
        self._bridge.attach()
        if self._core.is_open():
            await self._bridge.call(self._core.close)
        self._core.seal()
        self._bridge.detach()

    async def __aenter__(self) -> Self:
        try:
            return await self.connect()
        except BaseException:
            self._core.abandon()
            self._bridge.detach()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def state(self) -> ConnectionState:
        """Where the connection stands."""
        return ConnectionState(self._core.state())

    @property
    def server(self) -> ServerInfo | None:
        """What the server said about itself; ``None`` while not connected."""
        info = self._core.server()
        return None if info is None else ServerInfo(**info)

    @property
    def metrics(self) -> Metrics:
        """How much: counters since the client was made, and present figures."""
        return _metrics(self._core.metrics())

    @property
    def diagnostics(self) -> Diagnostics:
        """How and why: the connection, the network and the endpoints at this moment."""
        return _diagnostics(self._core.diagnostics())

    def set_token(self, token: str | None) -> None:
        """Replaces the token for the next attempt; ``None`` sends none. A client that waits or failed for its token tries
        at once, and can be iterated again; one whose :meth:`connect` raised uses the token when that is called again.

        With a token function, the token counts for one attempt; afterwards the function is asked again. After
        :meth:`close` nothing happens.
        """
        self._core.set_token(token)

    def network_hint(self, hint: Literal["offline", "online", "address_changed", "sleep", "wake"]) -> None:
        """Tells the client what the program knows about the network or the machine.

        Without hints everything works, later: ``"online"``, ``"address_changed"`` and ``"wake"`` make a client that waits
        dial within half a second, and one that is connected prove it; after ``"offline"`` the next attempt is put off.

        Raises:
            WSEConfigError: No such hint.
        """
        self._core.network_hint(hint)

    def set_channel_token(self, topic: str, token: str | None) -> None:
        """Keeps a token that lets this client subscribe to one topic, for each later request for it; ``None`` forgets it.

        Raises:
            WSERequestError: A name that cannot be a topic, or more tokens than topics are allowed.
            WSEConnectionError: Before ``connect()``. After ``close()`` nothing happens.
        """
        self._core.set_channel_token(topic, token)

    def rotate_keys(self) -> None:
        """Renews the keys of an encrypted connection; messages go on meanwhile. It happens by itself, as the option
        ``rotate_after`` says.

        Raises:
            WSEError: Not connected, not encrypted, the server cannot, or a rotation is under way.
        """
        self._core.rotate_keys()

    @property
    def recording(self) -> bytes | None:
        """The recording so far as a file for ``wse replay``; ``None`` without the option ``record``."""
        return self._core.recording()

    # -- sending ------------------------------------------------------------------------------------------------------

    async def send(
        self,
        type: str,
        payload: Any = _NO_PAYLOAD,
        topic: str | None = None,
        *,
        id: str | None = None,
        correlation_id: str | None = None,
        priority: int | None = None,
    ) -> str:
        """Sends a message to the server's application, or publishes it to a topic, and returns its id.

        Returns when the message is accepted for writing; waits while too many bytes are on their way. While the client
        connects or reconnects the message is kept, and sent by priority once the connection is there; an event of type
        ``dropped`` tells if that will not happen. Cancelled, the message may still be sent.

        Args:
            type: The message's type, for example ``"chat"``; types of the protocol itself are refused.
            payload: ``dict``, ``list``, ``str``, ``int``, ``float``, ``bool`` or ``None``. ``datetime`` is written
                as ``isoformat()``; ``Decimal``, ``UUID`` and integers beyond 64 bits as text; an ``Enum`` as its value;
                ``bytes`` as lower-case hex, and as they are with ``encoding="msgpack"``. Default ``{}``.
            topic: Publish to this topic. Default none.
            id: The message's id. Default: one is made.
            correlation_id: The id of the message that this one answers. Default none.
            priority: 1 background, 3 low, 5 normal (default), 8 high, 10 critical.

        Raises:
            TypeError, ValueError: The payload has no form in JSON; the text says where.
            WSERequestError: Type, topic or size are not allowed.
            WSEConnectionError: ``NOT_CONNECTED`` before ``connect()``, after ``close()``, when the client has failed, and
                with ``offline=False`` whenever it is not connected.
        """
        message = (type, {} if payload is _NO_PAYLOAD else payload, topic, id, correlation_id, priority)
        self._bridge.attach()
        await self._bridge.breathe()
        if not self._full.locked():
            sent = self._core.try_send(*message)
            if sent is not None:
                return sent
        # Too many bytes are on their way. Whoever has to wait does so in line, or messages would overtake each other.
        async with self._full:
            waited: str = await self._bridge.call(lambda op: self._core.send(op, *message))
            return waited

    async def publish(self, topic: str, type: str, payload: Any = _NO_PAYLOAD) -> str:
        """Publishes a message to everyone who is subscribed to ``topic``; see :meth:`send`.

        A server that refuses says so in a message of type ``error`` whose ``correlation_id`` is the returned id.
        """
        return await self.send(type, payload, topic)

    # -- requests -----------------------------------------------------------------------------------------------------

    @overload
    async def request(self, type: Literal["health_check", "health_check_request"], payload: Any = ...) -> requests.HealthReport: ...
    @overload
    async def request(self, type: Literal["config_request"], payload: Any = ...) -> requests.ConfigReport: ...
    @overload
    async def request(self, type: Literal["config_update"], payload: Any = ...) -> requests.ConfigUpdateReport: ...
    @overload
    async def request(self, type: Literal["connection_state_request"], payload: Any = ...) -> requests.ConnectionReport: ...
    @overload
    async def request(self, type: Literal["sequence_stats_request"], payload: Any = ...) -> requests.SequenceReport: ...
    @overload
    async def request(self, type: Literal["system_status_request"], payload: Any = ...) -> requests.SystemReport: ...
    @overload
    async def request(self, type: Literal["debug_handlers"], payload: Any = ...) -> requests.HandlersReport: ...
    @overload
    async def request(self, type: Literal["encryption_request"], payload: Any = ...) -> requests.EncryptionReport: ...
    @overload
    async def request(self, type: Literal["sync_request"], payload: Any = ...) -> requests.SnapshotReport: ...
    @overload
    async def request(self, type: Literal["presence_request"], payload: Any = ...) -> requests.PresenceReport: ...
    @overload
    async def request(self, type: Literal["batch_message"], payload: Any = ...) -> requests.BatchReport: ...
    @overload
    async def request(self, type: str, payload: Any = ...) -> Any: ...
    async def request(self, type: str, payload: Any = _NO_PAYLOAD) -> Any:
        """Asks the server something, waits for its answer (option ``request_timeout``), and returns the payload.

        ::

            health = await client.request("health_check_request")
            print(health["status"])

        A question is asked once: it is not kept for the next connection.

        Args:
            type: What is asked: ``health_check``, ``config_request``, ``config_update``,
                ``connection_state_request``, ``sequence_stats_request``, ``system_status_request``, ``debug_handlers``,
                ``encryption_request``, ``metrics_request``, ``debug_request``, ``sync_request``, ``presence_request``
                or ``batch_message`` (PROTOCOL.md §11); or a type of the server's application, which must then answer
                with the question's id as ``correlation_id``.
            payload: As for :meth:`send`, but always written as JSON (PROTOCOL.md §11.1): ``bytes`` as hex, also with
                ``encoding="msgpack"``. Default ``{}``.

        Raises:
            TypeError, ValueError: The payload has no form in JSON; the text says where.
            WSETimeoutError: No answer in time.
            WSEConnectionError: Not connected (``NOT_CONNECTED``), or the connection ended before the answer came
                (``CONNECTION_CLOSED``): the server may have acted all the same.
            WSERequestError: The server refused, ``code`` is its own; or the type cannot be asked.
            WSEError: The server refused with a code that has an exception of its own.
        """
        question = {} if payload is _NO_PAYLOAD else payload
        answer: WSEEvent = await self._bridge.call(lambda op: self._core.request(op, type, question))
        return answer.payload

    async def presence(
        self, topic: str, *, after: str | None = None, limit: int | None = None
    ) -> requests.PresenceReport:
        """Asks who is seen in a topic, and returns a page of users in the order of their ids.

        ::

            page = await client.presence("room:7", limit=100)
            while page["more"]:
                page = await client.presence("room:7", after=page["members"][-1]["user_id"], limit=100)

        Args:
            topic: A name, no pattern.
            after: Only users after this one. Default: from the first on.
            limit: Most users; 0 for their number alone. Default: as many as the server likes.

        Raises:
            WSEError: As :meth:`request`.
        """
        question: dict[str, Any] = {"topic": topic}
        if after is not None:
            question["after"] = after
        if limit is not None:
            question["limit"] = limit
        return await self.request("presence_request", question)

    # -- topics -------------------------------------------------------------------------------------------------------

    async def subscribe(
        self, topics: str | Iterable[str], *, presence: Any = None, group: str | None = None
    ) -> Subscription:
        """Asks for topics, now and after every reconnect. For topics that are subscribed the options are a change; what is
        left out stays as it is.

        Args:
            topics: One name, or several; ``*`` and ``?`` are wildcards.
            presence: Whether other subscribers see this user in the topics, which must be names and no patterns. ``True``:
                it is seen; ``False``: it is not; any other payload of at most 4096 bytes of JSON: it is seen, and tells
                this. At first it is not.
            group: The queue group in which the messages are shared, each going to one member. It is left by
                unsubscribing. Default none.

        Raises:
            WSESubscriptionError: The server refused some of them; ``refused`` says why, the others are subscribed.
            WSERequestError: A name that cannot be a topic or a group, none given, or too much told.
            TypeError, ValueError: ``presence`` has no form in JSON; the text says where.
            WSEConnectionError: The client is closed.
        """
        names = _names(topics)
        return _outcome(await self._bridge.call(lambda op: self._core.subscribe(op, names, presence, group)))

    async def unsubscribe(self, topics: str | Iterable[str]) -> Subscription:
        """Gives up topics. Unknown ones are no error.

        Raises:
            WSERequestError: A name that cannot be a topic, or none given.
            WSEConnectionError: The client is closed.
        """
        names = _names(topics)
        return _outcome(await self._bridge.call(lambda op: self._core.unsubscribe(op, names)))

    # -- receiving ----------------------------------------------------------------------------------------------------

    def on(self, type: str) -> Callable[[H], H]:
        """Decorator: calls a function, plain or async, for each event of ``type``; ``"*"`` stands for all.

        Functions are called in order of registration, one event after the other, by whoever reads the client:
        ``async for``, :meth:`batches` or :meth:`run`. The reader gets the event afterwards. An exception of a function
        goes to the event loop's exception handler.
        """

        def register(handler: H) -> H:
            self._handlers.setdefault(type, []).append(handler)
            return handler

        return register

    async def run(self) -> None:
        """Reads until the client is closed, for programs that only use :meth:`on`.

        Raises:
            WSEError: The connection failed for good.
        """
        async for _ in self:
            pass

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WSEEvent:
        position = self._next
        if position >= len(self._batch):
            if not await self._fill():
                raise StopAsyncIteration
            position = self._next
        elif not position & 15:
            await self._bridge.breathe()
            position = self._next
            if position >= len(self._batch):
                return await self.__anext__()
        if self._handlers:
            await self._handle(self._batch[position])
        # No await from here on: the event is either returned, or still there.
        event = self._batch[self._next]
        self._next += 1
        return event

    async def batches(self) -> AsyncIterator[list[WSEEvent]]:
        """Yields events in lists as they came together, in order: the fastest way to read."""
        while await self._fill():
            if self._handlers:
                yield [await self.__anext__()]
                continue
            batch, start = self._batch, self._next
            self._batch, self._next = [], 0
            yield batch[start:] if start else batch

    async def _fill(self) -> bool:
        """Makes sure that an event is at hand; false at the end."""
        while self._next >= len(self._batch):
            batch = await self._bridge.batch()
            if not batch:
                return False
            # Another task may have filled the buffer while this one waited.
            self._batch = self._batch[self._next :] + batch
            self._next = 0
        return True

    async def _handle(self, event: WSEEvent) -> None:
        """Calls the functions for an event once, even if the reader is cancelled meanwhile and comes again."""
        if self._handling is None:
            handlers = [*self._handlers.get(event.type, ()), *self._handlers.get("*", ())]
            if not handlers:
                return
            self._handling = asyncio.ensure_future(_run_handlers(handlers, event))
        await asyncio.shield(self._handling)
        self._handling = None

    def __del__(self) -> None:
        core = getattr(self, "_core", None)
        if core is not None and core.is_open():
            warnings.warn(f"unclosed {type(self).__name__} in state {core.state()}", ResourceWarning, source=self)
            core.abandon()


class Connecting:
    """What :func:`connect` returns: ``await`` it, or enter it with ``async with``."""

    def __init__(self, client: AsyncWSEClient) -> None:
        self._client = client

    def __await__(self) -> Generator[Any, None, AsyncWSEClient]:
        return self._client.__aenter__().__await__()

    async def __aenter__(self) -> AsyncWSEClient:
        return await self._client.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()


def connect(url: str | Iterable[str], **options: Unpack[ConnectOptions]) -> Connecting:
    """Connects to a server.

    ::

        async with connect("ws://localhost:5006/wse", token="jwt") as client:
            await client.subscribe(["notifications"])
            async for event in client:
                print(event.type, event.payload)

    ``client = await connect(url)`` works as well; close it with ``await client.close()``.

    Args:
        url: ``ws://`` or ``wss://`` address, or several of equal servers.
        **options: See :class:`ConnectOptions`.

    Raises:
        TypeError: An option that does not exist; the text names the nearest one.
        WSEConfigError: An option with a value that cannot be used.
        WSEError: On ``await`` and ``async with``, as :meth:`AsyncWSEClient.connect`.
    """
    check_names("connect", options)
    return Connecting(AsyncWSEClient(url, **options))


async def _run_handlers(handlers: list[Handler], event: WSEEvent) -> None:
    for handler in handlers:
        try:
            result = handler(event)
            if inspect.isawaitable(result):
                await result
        except Exception as error:  # one faulty function must not stop the stream
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"handler {handler!r} failed on {event!r}", "exception": error}
            )


def _names(topics: str | Iterable[str]) -> list[str]:
    return [topics] if isinstance(topics, str) else list(topics)


def _outcome(outcome: tuple[list[str], dict[str, str], bool, dict[str, int]]) -> Subscription:
    accepted, refused, confirmed, present = outcome
    if refused:
        reasons = ", ".join(f"{topic!r} ({why})" for topic, why in refused.items())
        raise WSESubscriptionError(
            f"the server refused {reasons}", code="TOPIC_DENIED", accepted=accepted, refused=refused
        )
    return Subscription(tuple(accepted), confirmed, present)
