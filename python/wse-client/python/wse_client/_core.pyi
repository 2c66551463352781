"""The engine's side. Private: use the classes of ``wse_client``."""

from collections.abc import Callable, Iterable
from typing import Any, Final, final

from .requests import PresenceChange

__all__ = ["Core", "WSEEvent", "__version__", "quiesce"]

__version__: Final[str]

@final
class WSEEvent:
    """A message from the server, or a notice of the client.

    ``match event: case WSEEvent("price", payload): ...`` works.
    """

    __match_args__: Final = ("type", "payload")
    @property
    def type(self) -> str:
        """The type, for example ``"price"``."""
    @property
    def payload(self) -> Any:
        """The payload as Python objects, made when it is first asked for and the same ones from then on.

        Raises:
            ValueError: A msgpack payload that Python cannot hold, for example a map with a map as key.
        """
    @property
    def payload_json(self) -> str:
        """The payload as JSON text, byte for byte as it was published; msgpack is rewritten, binary strings as hex."""

    @property
    def notice(self) -> str | None:
        """What the server tells unasked, where that is known: ``"snapshot"`` (of category ``"S"``),
        ``"snapshot_complete"``, ``"presence_join"``, ``"presence_leave"``, ``"presence_update"``,
        ``"connection_quality"``, ``"server_state"``, ``"config"``, ``"config_update"`` or ``"system_status"``."""
    @property
    def presence(self) -> PresenceChange | None:
        """Who came, went or tells something else in ``topic``, by ``type``; ``None`` for an event that is no notice of that."""
    @property
    def id(self) -> str | None:
        """The message's id."""
    @property
    def sequence(self) -> int | None:
        """The server's counter on this connection, from 0; messages of topics have none."""
    @property
    def timestamp(self) -> str | None:
        """When the sender wrote it, RFC 3339."""
    @property
    def category(self) -> str | None:
        """``"WSE"`` protocol, ``"S"`` snapshot, ``"U"`` update."""
    @property
    def topic(self) -> str | None:
        """The topic it was published to."""
    @property
    def correlation_id(self) -> str | None:
        """The id of the message that this one answers."""
    @property
    def traceparent(self) -> str | None:
        """The trace that the message belongs to, as in W3C Trace Context."""
    @property
    def priority(self) -> int | None:
        """The sender's priority: 1, 3, 5, 8 or 10."""
    def __repr__(self) -> str: ...

@final
class Core:
    """One client of the engine. Every method returns at once; results come by ``completions``."""

    def __new__(cls, url: str | Iterable[str], settings: dict[str, Any], provider: bool) -> Core: ...
    def check_process(self) -> None: ...
    def doorbell(self) -> int | None: ...
    def ring_by(self, soon: Callable[..., object], callback: Callable[[], None]) -> None: ...
    def connect(self, operation: int) -> None: ...
    def reconnect(self, operation: int) -> None: ...
    def close(self, operation: int) -> None: ...
    def seal(self) -> None: ...
    def abandon(self) -> None: ...
    def try_send(
        self,
        type: str,
        payload: Any,
        topic: str | None,
        id: str | None,
        correlation_id: str | None,
        priority: int | None,
    ) -> str | None: ...
    def send(
        self,
        operation: int,
        type: str,
        payload: Any,
        topic: str | None,
        id: str | None,
        correlation_id: str | None,
        priority: int | None,
    ) -> None: ...
    def subscribe(self, operation: int, topics: list[str], presence: Any, group: str | None) -> None: ...
    def unsubscribe(self, operation: int, topics: list[str]) -> None: ...
    def request(self, operation: int, type: str, payload: Any) -> None: ...
    def set_token(self, token: str | None) -> None: ...
    def network_hint(self, hint: str) -> None: ...
    def set_channel_token(self, topic: str, token: str | None) -> None: ...
    def rotate_keys(self) -> None: ...
    def recording(self) -> bytes | None: ...
    def answer_token(self, request: int, token: str | None, error: str | None) -> None: ...
    def completions(self) -> list[tuple[int, str, Any]]: ...
    def drain(self, limit: int) -> list[WSEEvent]: ...
    def arm(self) -> bool: ...
    def failure(self) -> tuple[str, str, bool] | None: ...
    def finished(self) -> bool: ...
    def is_open(self) -> bool: ...
    def state(self) -> str: ...
    def server(self) -> dict[str, Any] | None: ...
    def metrics(self) -> dict[str, Any]: ...
    def diagnostics(self) -> dict[str, Any]: ...

def quiesce() -> None:
    """Waits until no thread of the engine is inside Python, and lets none in from then on."""
