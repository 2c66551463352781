"""The keyword arguments of :func:`wse_client.connect`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from difflib import get_close_matches
from os import PathLike
from typing import Literal, TypedDict, Union

__all__ = ["ConnectOptions", "Token", "TokenProvider"]

TokenProvider = Callable[[], Union[str, None, Awaitable[Union[str, None]]]]
"""Asked at each attempt to connect, in the event loop; plain or async."""

Token = Union[str, TokenProvider, None]
"""A token, where to get one, or none."""


class ConnectOptions(TypedDict, total=False):
    """Options of a client; all may be left out. Lengths of time are seconds."""

    token: Token
    """A JWT as ``str``, or a function, plain or async, that is asked for one at each attempt. Default none."""
    topics: Iterable[str]
    """Topics to subscribe to at once; ``*`` and ``?`` are wildcards. Default none."""
    endpoints: Iterable[str]
    """Further addresses of equal servers, tried after a failure. Default none; the first argument may be a list, too."""
    encoding: Literal["json", "text", "msgpack"]
    """How messages are written, both ways: JSON in binary frames, JSON in text frames, or msgpack. Default ``"json"``;
    with ``"msgpack"``, ``bytes`` stay ``bytes``."""
    connect_timeout: float
    """One call of ``connect()``, all its attempts together. Default 30."""
    max_retries: int | None
    """Failed attempts in a row after which the client gives up: iterating raises ``RETRIES_EXHAUSTED``.
    Default ``None``: never."""
    initial_delay: float
    """First pause before a reconnect. Default 1."""
    max_delay: float
    """Longest pause. Default 30."""
    backoff_multiplier: float
    """Growth of the pause, from 1 to 10. Default 1.5."""
    backoff_strategy: Literal["exponential", "linear", "fibonacci", "adaptive"]
    """How the pause grows. Default ``"exponential"``."""
    pool_strategy: Literal["weighted_random", "least_connections", "round_robin"]
    """How one of several healthy endpoints is chosen. Default ``"weighted_random"``: by their health."""
    pool_preferred: str
    """The address to prefer while it is healthy. Default none."""
    encryption: bool
    """Agree on a key and encrypt every message; a server that cannot is refused. Default ``False``."""
    rotate_after: float | None
    """Age at which the key of a connection is renewed. Default 3600; ``None``: only when it is used up."""
    signing: bool
    """Sign what is published, and messages of ``signing_types``. Needs ``signing_key``; default ``True`` with one, else
    ``False``. A server without the key does not look at signatures."""
    signing_key: str
    """The key that the server knows, at least 32 bytes."""
    signing_types: Iterable[str]
    """Types that are signed beside publications. Default ``["priority_message"]``."""
    signing_publications: bool
    """Whether what is published is signed. Default ``True``."""
    signing_form: Literal["hmac", "jwt"]
    """How signatures are written. Default ``"hmac"``."""
    signing_verification: Literal["off", "if_present", "required"]
    """What is done about signatures that arrive; ``"required"`` refuses messages of ``signing_types`` without. Default
    ``"if_present"``."""
    compression: bool
    """Compress messages over 1024 bytes, and accept compressed ones. Default ``True``."""
    batch_size: int
    """Small messages share a frame where the server reads it; most messages in one. Default: each goes at once."""
    batch_timeout: float
    """Longest wait for a batch, 5 at most; naming it asks for batches too. Default 0.1."""
    adaptive_quality: bool
    """Ping less often on a fair or poor network and join small messages, which then wait up to 0.2 s on a fair one and 0.5 s
    on a poor one; on a poor one compress harder, too. Default ``False``."""
    offline: bool
    """Keep messages that are sent while the client connects or reconnects, and send them by priority when it is there.
    Default ``True``; with ``False``, sending raises ``NOT_CONNECTED`` meanwhile."""
    offline_max_size: int
    """Most messages kept, from 1 to 1,000,000. When they are that many, the oldest of the lowest priority is dropped,
    never one of priority 8 or 10. Default 1000."""
    offline_max_age: float
    """How long a message is kept at most. Default 3600."""
    heartbeat_interval: float
    """Time between pings. Default 15."""
    heartbeat_timeout: float
    """Silence after a ping that ends the connection. Default 25."""
    dial_timeout: float
    """One attempt's TCP, TLS and WebSocket handshake; also one call of the token function. Default 10."""
    ready_timeout: float
    """From the open socket to a server that is ready. Default 10."""
    subscribe_timeout: float
    """Answer to a subscription request. Default 5."""
    request_timeout: float
    """Answer to a typed request. Default 10."""
    record: str | PathLike[str] | None
    """Write a recording of inputs and decisions, without payloads and secrets, to this file when the client is closed or
    fails, for ``wse replay``. Default none."""
    queue_size: int
    """Messages held for a program that is slow to read, from 1 to 1,000,000. When they are that many, the socket is
    not read, and the server waits. Default 4096."""


def check_names(function: str, options: Mapping[str, object]) -> None:
    """Raises the ``TypeError`` of an unknown keyword, and names the nearest one that exists."""
    known = ConnectOptions.__annotations__
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else f"; options are {', '.join(sorted(known))}"
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")
