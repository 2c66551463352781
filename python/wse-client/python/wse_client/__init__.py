"""Real-time messages over WebSocket, as an async iterator of events.

::

    async with connect("ws://localhost:5006/wse", token="jwt") as client:
        await client.subscribe(["notifications"])
        async for event in client:
            print(event.type, event.payload)
"""

from __future__ import annotations

from ._core import WSEEvent, __version__
from .client import AsyncWSEClient, Connecting, connect
from .errors import (
    WSEAuthError,
    WSEConfigError,
    WSEConnectionError,
    WSEEncryptionError,
    WSEError,
    WSERequestError,
    WSESubscriptionError,
    WSETimeoutError,
    WSEUsageError,
)
from .metrics import Diagnostics, Metrics
from .options import ConnectOptions
from .types import ConnectionState, ServerInfo, Subscription

__all__ = [
    "AsyncWSEClient",
    "ConnectOptions",
    "Connecting",
    "ConnectionState",
    "Diagnostics",
    "Metrics",
    "ServerInfo",
    "Subscription",
    "WSEAuthError",
    "WSEConfigError",
    "WSEConnectionError",
    "WSEEncryptionError",
    "WSEError",
    "WSEEvent",
    "WSERequestError",
    "WSESubscriptionError",
    "WSETimeoutError",
    "WSEUsageError",
    "__version__",
    "connect",
]
