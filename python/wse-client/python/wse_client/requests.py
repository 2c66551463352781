"""Shapes of the server's answers (PROTOCOL.md §11).

An answer is a ``dict``; servers may leave out members and add others. Times are milliseconds, sizes bytes,
``timestamp`` is RFC 3339.
"""

from __future__ import annotations

from typing import Any, TypedDict

__all__ = [
    "BatchItemReport",
    "BatchReport",
    "ConfigReport",
    "ConfigUpdateReport",
    "ConnectionReport",
    "EncryptionReport",
    "HandlersReport",
    "HealthReport",
    "PresenceChange",
    "PresenceReport",
    "SequenceReport",
    "SnapshotReport",
    "SystemReport",
]


class HealthReport(TypedDict, total=False):
    """Answer to ``health_check`` and ``health_check_request``."""

    status: str
    """``healthy``, or the server's own word."""
    connection_id: str
    """The server's name for this connection."""
    server_version: str
    """The server's version."""
    timestamp: str
    """Civil time at the server."""
    uptime_ms: int
    """Age of the connection."""


class ConfigReport(TypedDict, total=False):
    """Answer to ``config_request``."""

    compression_enabled: bool
    """Whether large messages to this client are compressed."""
    compression_threshold: int | None
    """Size above which they are."""
    encryption_enabled: bool
    """Whether this connection is encrypted."""
    protocol_version: int
    """The protocol version of the server."""
    heartbeat_interval: int
    """Time between pings of the server."""
    idle_timeout: int
    """Silence of the client that ends the connection."""
    max_message_size: int
    """The largest frame that the server takes."""
    max_topics: int
    """The largest number of topics of one connection."""


class ConfigUpdateReport(TypedDict, total=False):
    """Answer to ``config_update``."""

    success: bool
    """Whether the server took the settings."""


class ConnectionReport(TypedDict, total=False):
    """Answer to ``connection_state_request``."""

    state: str
    """``connected``, or the server's own word."""
    connection_id: str
    """The server's name for this connection."""
    user_id: str
    """Who the server takes the client for."""
    encrypted: bool
    """Whether the connection is encrypted."""
    uptime_ms: int
    """Age of the connection."""
    rejected: int
    """Frames of this client that the server refused."""
    timestamp: str
    """Civil time at the server."""


class SequenceReport(TypedDict, total=False):
    """Answer to ``sequence_stats_request``."""

    next_sequence: int
    """Application messages written to this client so far: the next ``seq``."""
    total_topics: int
    """Topics whose order the server tracks for this client."""
    total_buffered: int
    """Messages held back for a gap."""


class SystemReport(TypedDict, total=False):
    """Answer to ``system_status_request``."""

    status: str
    """``ok``, or the server's own word."""
    server_version: str
    """The server's version."""
    protocol_version: int
    """The protocol version of the server."""
    timestamp: str
    """Civil time at the server."""


class HandlersReport(TypedDict, total=False):
    """Answer to ``debug_handlers``."""

    handlers: list[str]
    """Message types that the server itself takes; all others are for its application."""


class EncryptionReport(TypedDict, total=False):
    """Answer to ``encryption_request``."""

    enabled: bool
    """Whether the connection is encrypted."""


class SnapshotReport(TypedDict, total=False):
    """Answer to ``sync_request``, after the snapshots."""

    success: bool
    """Whether all snapshots were sent."""
    message: str
    """The server's words."""
    snapshots_sent: list[str]
    """What was sent before this answer."""


class PresenceChange(TypedDict, total=False):
    """One who is present, or comes, or goes."""

    user_id: str
    """Who."""
    data: Any
    """What the user told about itself."""


class PresenceReport(TypedDict, total=False):
    """Answer to ``presence_request``."""

    topic: str
    """The topic."""
    total: int
    """How many are present; more than are listed where the server lists only some."""
    members: list[PresenceChange]
    """Who, in the order of their ids."""
    more: bool
    """Whether there are more: ask again with the last ``user_id`` as ``after``."""


class BatchItemReport(TypedDict, total=False):
    """What became of one message of a batch."""

    id: str
    """Its id, if it had one and could be read."""
    success: bool
    """Whether it was read."""
    error: str
    """Why not, as a stable code."""


class BatchReport(TypedDict, total=False):
    """Answer to ``batch_message``."""

    total: int
    """Messages in the batch."""
    successful: int
    """Messages that were read. Whether a publication was allowed is told apart from this, by an ``error`` as ever."""
    failed: int
    """Messages that were not."""
    results: list[BatchItemReport]
    """One for each message, in order."""
