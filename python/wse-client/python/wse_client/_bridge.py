"""Between the engine's threads and one event loop.

No thread of the engine ever runs Python code: one that did while the interpreter exits would abort the process. The
engine puts results and messages into its queues and writes one byte to a socket that the loop watches; everything else
happens in the loop's own thread.
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import itertools
import socket
import time
import weakref
from collections.abc import Callable
from typing import Any

from . import _core
from .errors import WSEConnectionError, WSEUsageError, _error, _refusal
from .options import TokenProvider

BATCH = 256
"""Most events taken from the engine at once."""
SLICE = 0.005
"""Seconds after which a reader that always finds data lets other tasks run."""

# Only loops that cannot watch a socket (Windows, proactor) are called from a thread of the engine; at exit that has
# to be over before the interpreter is taken down.
atexit.register(_core.quiesce)


class Bridge:
    """One engine client, bound to the event loop that uses it first."""

    def __init__(self, core: _core.Core, provider: TokenProvider | None) -> None:
        self.core = core
        self._provider = provider
        self._loop: asyncio.AbstractEventLoop | None = None
        self._operations: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)
        self._readers: list[asyncio.Future[None]] = []
        self._token_calls: set[asyncio.Task[None]] = set()
        self._bell: socket.socket | None = None
        self._detached = False
        self._yielded = time.monotonic()

    def attach(self) -> asyncio.AbstractEventLoop:
        """The running loop, which becomes this client's loop if it has none.

        Raises:
            WSEUsageError: It has another one, or this process was forked from the one that made the client.
        """
        self.core.check_process()
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
            self._watch(loop)
        elif self._loop is not loop:
            raise WSEUsageError("this client belongs to another event loop: make one client per loop")
        return loop

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        bell = self.core.doorbell()
        if bell is not None:
            sock = socket.socket(fileno=bell)
            try:
                loop.add_reader(sock, _rung, weakref.ref(self), loop, sock)
            except NotImplementedError:
                sock.close()
            else:
                self._bell = sock
                return
        self.core.ring_by(loop.call_soon_threadsafe, _Knock(weakref.ref(self)))

    async def call(self, start: Callable[[int], None]) -> Any:
        """Starts an operation of the engine and waits for its result.

        Raises:
            WSEConnectionError: The client is closed.
        """
        loop = self.attach()
        if self._detached:
            # Nobody would hear of the result.
            raise WSEConnectionError("this client is closed", code="CONNECTION_CLOSED")
        operation = next(self._ids)
        future: asyncio.Future[Any] = loop.create_future()
        self._operations[operation] = future
        try:
            start(operation)
            return await future
        finally:
            del self._operations[operation]

    def answer(self) -> None:
        """Hands out what the engine has finished, and wakes readers."""
        for operation, kind, value in self.core.completions():
            if kind == "token":
                self._fetch_token(operation, value)
                continue
            future = self._operations.get(operation)
            if future is None or future.done():
                continue
            if kind == "ok":
                future.set_result(value)
            elif kind == "refused":
                future.set_exception(_refusal(*value))
            else:
                future.set_exception(_error(*value))
        self._wake_readers()

    def _wake_readers(self) -> None:
        readers, self._readers = self._readers, []
        for reader in readers:
            if not reader.done():
                reader.set_result(None)

    def _fetch_token(self, request: int, renew: bool) -> None:
        task = asyncio.ensure_future(self._ask_provider(request))
        self._token_calls.add(task)
        task.add_done_callback(self._token_calls.discard)

    async def _ask_provider(self, request: int) -> None:
        try:
            token = self._provider() if self._provider is not None else None
            if inspect.isawaitable(token):
                token = await token
            if token is not None and not isinstance(token, str):
                raise TypeError(f"the token provider returned {type(token).__name__}, not str")
        except Exception as error:  # the application's own code: any failure is the answer
            self.core.answer_token(request, None, f"{type(error).__name__}: {error}")
        else:
            self.core.answer_token(request, token, None)

    async def batch(self) -> list[_core.WSEEvent]:
        """The events that are there, at least one; an empty list at the end.

        Nothing is lost when it is cancelled: events leave the engine only when they are returned.

        Raises:
            WSEError: The connection failed for good.
        """
        loop = self.attach()
        await self.breathe()
        while True:
            if events := self.core.drain(BATCH):
                return events
            if failure := self.core.failure():
                raise _error(*failure)
            if self.core.finished():
                return []
            reader = loop.create_future()
            self._readers.append(reader)
            try:
                if self.core.arm():
                    await reader
                    self._yielded = time.monotonic()
            finally:
                if reader in self._readers:
                    self._readers.remove(reader)

    async def breathe(self) -> None:
        """Lets other tasks run if this one has held the loop for long."""
        if time.monotonic() - self._yielded > SLICE:
            await asyncio.sleep(0)
            self._yielded = time.monotonic()

    def detach(self) -> None:
        """Leaves the loop: nobody is left waiting, and the engine is not listened to any more."""
        self._detached = True
        for task in self._token_calls:
            task.cancel()
        for future in self._operations.values():
            if not future.done():
                future.set_exception(WSEConnectionError("the client was closed", code="CONNECTION_CLOSED"))
        self._wake_readers()
        if self._bell is not None and self._loop is not None:
            self._loop.remove_reader(self._bell)
            self._bell.close()
            self._bell = None


class _Knock:
    """Called in the loop by way of ``call_soon_threadsafe``."""

    def __init__(self, bridge: weakref.ref[Bridge]) -> None:
        self._bridge = bridge

    def __call__(self) -> None:
        if (bridge := self._bridge()) is not None:
            bridge.answer()


def _rung(bridge_ref: weakref.ref[Bridge], loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """The engine wrote a byte, or it is gone and the socket has ended."""
    try:
        alive = bool(sock.recv(4096))
    except BlockingIOError:
        alive = True
    bridge = bridge_ref()
    if bridge is not None:
        bridge.answer()
    if bridge is None or not alive:
        loop.remove_reader(sock)
        sock.close()


__all__ = ["Bridge"]
