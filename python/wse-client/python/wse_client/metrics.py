"""What a client tells of itself: how much, and how and why.

Names and units are those of every language, in snake case; times are milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .types import ConnectionState

__all__ = [
    "CircuitBreaker",
    "Diagnostics",
    "DisconnectMetrics",
    "DropMetrics",
    "Encoding",
    "EndpointMetrics",
    "LevelMetrics",
    "Metrics",
    "Quality",
    "QueueMetrics",
    "SequenceMetrics",
    "Suggestion",
]

Quality = Literal["unknown", "poor", "fair", "good", "excellent"]
"""How well the network does."""
CircuitBreaker = Literal["CLOSED", "OPEN", "HALF_OPEN"]
"""Where the circuit breaker of an endpoint stands."""
Encoding = Literal["text", "binary", "msgpack"]
"""How a client writes."""
Suggestion = Literal["batch", "buffer", "unstable"]
"""What would help: send in batches, buffer what is shown, expect reconnects."""

@dataclass(frozen=True)
class DropMetrics:
    """Accepted messages that were dropped, by reason."""

    queue_full: int
    """The queue was full, and a message at least as urgent came."""
    expired: int
    """They waited longer than ``offline.max_age``."""
    too_large: int
    """Written in the way that the server reads, they are larger than a frame may be."""
    disconnected: int
    """The connection ended while they waited for their turn, and ``offline.enabled`` is off."""
    closed: int
    """The application closed the connection."""


@dataclass(frozen=True)
class LevelMetrics:
    """What became of the messages of one priority that had to wait."""

    waiting: int
    """Wait at present."""
    queued: int
    """Taken in."""
    sent: int
    """Taken out to be sent."""
    dropped: int
    """Dropped after they were taken in."""
    refused: int
    """Not taken in."""


@dataclass(frozen=True)
class QueueMetrics:
    """The queue of messages that could not be sent at once, and what became of them by priority."""

    waiting: int
    """Messages that wait at present."""
    capacity: int
    """Most messages that may wait."""
    bytes: int
    """Bytes that the waiting messages count for."""
    byte_capacity: int
    """Most bytes that may wait."""
    oldest_ms: int | None
    """How long the oldest of them has waited. ``None`` when there is none."""
    background: LevelMetrics
    """Priority 1."""
    low: LevelMetrics
    """Priority 3."""
    normal: LevelMetrics
    """Priority 5."""
    high: LevelMetrics
    """Priority 8."""
    critical: LevelMetrics
    """Priority 10."""


@dataclass(frozen=True)
class SequenceMetrics:
    """What the sequence numbers of one connection tell."""

    numbered: int
    """Messages with a number."""
    missing: int
    """Numbers that were jumped over."""
    late: int
    """Messages whose number was behind the one expected."""
    held: int
    """Messages held at present until what is before them comes."""
    expected: int | None
    """The number expected next. ``None`` before the first."""


@dataclass(frozen=True)
class Metrics:
    """How much: counters since the client was made, and present figures. At any moment ``messages_accepted =
    messages_sent + messages_dropped + messages_queued``, and ``messages_dropped`` is the sum of ``drops``."""

    messages_received: int
    """Application messages handed to the application, answers to requests included."""
    messages_accepted: int
    """Application messages that ``send()`` took, or that were left by an earlier run."""
    messages_sent: int
    """Application messages written to a connection."""
    messages_queued: int
    """Application messages that wait for a connection, or for their turn."""
    messages_dropped: int
    """Application messages that were accepted and will not be sent; ``drops`` says why."""
    messages_refused: int
    """Application messages that ``send()`` refused with an error, whatever the error."""
    messages_lost: int
    """Messages of the server that will never come, as far as they were counted."""
    messages_duplicate: int
    """Messages that came again and were dropped."""
    messages_deferred: int
    """Publications that came ahead of a gap and were dropped, to come again with what is missing."""
    messages_recovered: int
    """Missed publications that the server sent after all."""
    gaps: int
    """Times that a topic was found to have a gap, and the server was asked for what is missing."""
    drops: DropMetrics
    """Why accepted messages were dropped."""
    queue: QueueMetrics
    """The messages that wait."""
    sequence: SequenceMetrics
    """What the sequence numbers of the present connection tell."""
    frames_received: int
    """Frames received on the present socket of their time."""
    frames_sent: int
    """Frames written."""
    frames_rejected: int
    """Frames, or messages in a batch, that were refused."""
    frames_stale: int
    """Frames of a socket that was given up before they arrived; nobody looked at them."""
    bytes_received: int
    """Bytes of all frames received."""
    bytes_sent: int
    """Bytes of all frames sent."""
    message_rate: float
    """Application messages received a second, over the last 10 s."""
    bandwidth: float
    """Bytes a second in both directions, over the last 10 s."""
    heartbeats_received: int
    """Messages of type ``heartbeat``: a sign of life, and nothing else."""
    requests_pending: int
    """Requests of ``request()`` that wait for their answer."""
    requests_failed: int
    """Requests that ended without an answer."""
    connection_attempts: int
    """Sockets that were asked for."""
    connections: int
    """Times a connection became ready."""
    reconnect_count: int
    """Times a connection became ready after the first."""
    failed_attempts: int
    """Consecutive failed attempts."""
    auth_failures: int
    """Ends of a connection or attempt for want of a good token, or of the right to be here."""
    keys_rotated: int
    """Times the keys of a connection were renewed."""
    last_latency_ms: float | None
    """The last round trip. ``None`` before the first, as are the next three without samples."""
    avg_latency_ms: float | None
    """Mean round trip of the last pings."""
    min_latency_ms: float | None
    """Shortest of them."""
    max_latency_ms: float | None
    """Longest of them."""
    uptime_ms: int
    """Age of the client."""
    connected_for_ms: int | None
    """How long the present connection has been ready. ``None`` while there is none, as is the next one."""
    connected_since_ms: int | None
    """When it became ready, by the wall clock."""
    silent_for_ms: int | None
    """Time since the last frame of the present socket. ``None`` before the first."""
    next_attempt_in_ms: int | None
    """Time until the next attempt. ``None`` unless one is on the clock."""


@dataclass(frozen=True)
class EndpointMetrics:
    """How one endpoint does."""

    url: str
    """Its address."""
    score: int
    """Health, from 10 (worst) to 100."""
    circuit_breaker: CircuitBreaker
    """Its circuit breaker."""
    connections: int
    """Connections that this client made to it."""
    active: bool
    """Whether it is in use, or was tried last."""


@dataclass(frozen=True)
class DisconnectMetrics:
    """The end of a connection or attempt."""

    code: str
    """Why, as a stable code."""
    retryable: bool
    """Whether the same again later can work."""
    close_code: int | None
    """The WebSocket close code. ``None`` when there was no close, as is the next one."""
    close_reason: str | None
    """The reason in the close."""
    detail: str
    """One line for people."""
    retry_in_ms: int | None
    """The pause that followed. ``None`` when there was to be no other attempt."""


@dataclass(frozen=True)
class Diagnostics:
    """How and why: the connection, the network and the endpoints."""

    state: ConnectionState
    """Where the connection stands."""
    endpoint: str
    """The endpoint in use, or tried last."""
    connection_id: str | None
    """The server's name for this connection. ``None`` while there is none, as are the next two."""
    user_id: str | None
    """Who the server takes us for."""
    server_version: str | None
    """The server's version."""
    protocol_version: int
    """The protocol version of this client."""
    full_duplex: bool
    """Whether the server reads every frame kind of this page. False while not connected, as are the next ones."""
    recovery: bool
    """Whether the server keeps a history of topics."""
    batching: bool
    """Whether the server reads several messages in one frame."""
    encrypted: bool
    """Whether frames are encrypted."""
    signing: bool
    """Whether this client signs, and checks signatures."""
    encoding: Encoding | None
    """How this client writes: ``text``, ``binary`` or ``msgpack``. ``None`` while not connected."""
    compression_level: int | None
    """zlib level of what this client writes. ``None`` while it compresses nothing."""
    quality: Quality
    """How well the network does; ``unknown`` without samples."""
    stability: float
    """1 is steady, 0 is not."""
    jitter_ms: float | None
    """Mean difference between one round trip and the next. ``None`` with fewer than two."""
    packet_loss: float
    """Share of pings without an answer, in percent."""
    round_trip_time_ms: float | None
    """Mean round trip. ``None`` without samples."""
    suggestions: tuple[Suggestion, ...]
    """What would help, as stable codes."""
    circuit_breaker: CircuitBreaker
    """The circuit breaker of the endpoint in use."""
    offline: bool
    """The host says that there is no network."""
    asleep: bool
    """The host said that it goes to sleep, and not that it woke."""
    reads_paused: bool
    """The application is slow, and reading has stopped."""
    heartbeat_interval_ms: int
    """Present pause between two pings."""
    rate_capacity: int | None
    """Most messages that may be sent at once. ``None`` without a limit on the rate, as is the next one."""
    rate_refill: float | None
    """Messages that may be sent in the long run."""
    rate_by_server: bool
    """Whether the limit is the server's."""
    topics: int
    """Topics and patterns that are wanted."""
    max_topics: int
    """Most topics and patterns."""
    topic_positions: int
    """Topics whose position is known, so that what is missed can be asked for."""
    topic_positions_forgotten: int
    """Positions that were forgotten to make room: what is missed there afterwards goes unnoticed."""
    endpoints: tuple[EndpointMetrics, ...]
    """Each endpoint, in the order of the configuration."""
    last_disconnect: DisconnectMetrics | None
    """The last end of a connection or attempt. ``None`` before the first."""


def _metrics(figures: dict[str, Any]) -> Metrics:
    queue = figures.pop("queue")
    levels = ("background", "low", "normal", "high", "critical")
    queue.update({level: LevelMetrics(**queue[level]) for level in levels})
    return Metrics(
        drops=DropMetrics(**figures.pop("drops")),
        queue=QueueMetrics(**queue),
        sequence=SequenceMetrics(**figures.pop("sequence")),
        **figures,
    )


def _diagnostics(figures: dict[str, Any]) -> Diagnostics:
    last = figures.pop("last_disconnect")
    return Diagnostics(
        state=ConnectionState(figures.pop("state")),
        suggestions=tuple(figures.pop("suggestions")),
        endpoints=tuple(EndpointMetrics(**endpoint) for endpoint in figures.pop("endpoints")),
        last_disconnect=None if last is None else DisconnectMetrics(**last),
        **figures,
    )
