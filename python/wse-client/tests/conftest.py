"""Real server, real sockets: every test talks to the `wse-server` binary of this repository."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import Server

TIME_LIMIT = 60.0
"""Seconds for one async test."""


def server_binary() -> Path:
    """WSE_SERVER_BIN, or the debug build of this workspace; a missing one is an error, never a skip."""
    named = os.environ.get("WSE_SERVER_BIN")
    path = Path(named) if named else Path(__file__).parents[3] / "target" / "debug" / "wse-server"
    if not path.is_file():
        pytest.fail(f"no server binary at {path}: build it (cargo build -p wse-server) or set WSE_SERVER_BIN", pytrace=False)
    return path


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs `async def` tests, each in a loop of its own and in bounded time."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(test).parameters}
    asyncio.run(asyncio.wait_for(test(**arguments), TIME_LIMIT))
    return True


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    """It holds enough for a reader that is far behind: whatever is missing then was lost by the client."""
    with Server(server_binary(), "--ring-messages", "100000") as server:
        yield server


@pytest.fixture
def forgetful_server() -> Iterator[Server]:
    """A server that holds only 64 messages for readers that are behind."""
    with Server(server_binary(), "--ring-messages", "64") as server:
        yield server


@pytest.fixture
def url(shared_server: Server) -> str:
    """Address of an open server that all tests share."""
    return shared_server.url


@pytest.fixture
def own_server() -> Iterator[Server]:
    """An open server that the test may kill."""
    with Server(server_binary()) as server:
        yield server


@pytest.fixture(scope="session")
def guarded_server() -> Iterator[Server]:
    """A server that wants a token."""
    with Server(server_binary(), secret=SECRET) as server:
        yield server


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic that no other test uses."""
    name = "".join(char if char.isalnum() else "-" for char in request.node.name)
    return f"test:{name}:{os.urandom(4).hex()}"


SECRET = "a secret of at least thirty-two bytes"
