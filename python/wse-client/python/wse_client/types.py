"""Plain values that the client hands out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ._core import WSEEvent

__all__ = ["ConnectionState", "ServerInfo", "Subscription", "WSEEvent"]


class ConnectionState(str, Enum):
    """Where a connection stands (PROTOCOL.md §8). Each member equals its lower-case name."""

    IDLE = "idle"
    """Not asked to connect yet."""
    CONNECTING = "connecting"
    """The first attempt is under way."""
    CONNECTED = "connected"
    """Messages flow."""
    RECONNECTING = "reconnecting"
    """The connection was lost; the next attempt is on the clock or under way."""
    FAILED = "failed"
    """Given up for a reason that time will not heal; ``reconnect()`` works again."""
    CLOSED = "closed"
    """Ended by ``close()``."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class ServerInfo:
    """What the server said about itself; ``None`` where it said nothing."""

    connection_id: str | None
    """The server's name for this connection."""
    user_id: str | None
    """Who the server takes this client for."""
    server_version: str | None
    """The server's version."""
    encrypted: bool
    """Whether messages are encrypted."""
    endpoint: str
    """The address in use."""


@dataclass(frozen=True)
class Subscription:
    """How a subscription request ended."""

    topics: tuple[str, ...]
    """Topics that were added, or removed."""
    confirmed: bool
    """Whether the server answered. Some servers never do; topics then stay wanted and are asked for again at
    the next connection."""
    present: dict[str, int] = field(default_factory=dict)
    """How many users are seen in the topics where this one is; a topic that is missing shows nobody."""
