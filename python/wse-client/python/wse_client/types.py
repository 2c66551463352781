"""Plain values that the client hands out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ._core import WSEEvent

__all__ = ["ConnectionState", "Metrics", "ServerInfo", "Subscription", "WSEEvent"]


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
class Metrics:
    """Counters since the client was made, and present figures."""

    messages_received: int
    """Application messages received."""
    messages_sent: int
    """Application messages written to a connection."""
    bytes_received: int
    """Bytes of all frames received."""
    bytes_sent: int
    """Bytes of all frames sent."""
    frames_rejected: int
    """Frames of the server that were refused."""
    messages_lost: int
    """Messages the server said it dropped."""
    messages_dropped: int
    """Messages of this program that were refused because the queue was full, or dropped after they were accepted."""
    messages_waiting: int
    """Messages of this program that wait for a connection, or for their turn."""
    connections: int
    """Times a connection became ready."""
    failed_attempts: int
    """Consecutive failed attempts."""
    latency: float | None
    """The last round trip, in seconds."""
    connected_for: float | None
    """How long the present connection has been ready, in seconds."""


@dataclass(frozen=True)
class Subscription:
    """How a subscription request ended."""

    topics: tuple[str, ...]
    """Topics that were added, or removed."""
    confirmed: bool
    """Whether the server answered. Some servers never do; topics then stay wanted and are asked for again at
    the next connection."""
