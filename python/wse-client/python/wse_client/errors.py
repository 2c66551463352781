"""What can go wrong, as one tree.

::

    WSEError                       code: str, retryable: bool
    ├── WSEConfigError             ValueError        a setting that cannot be used
    ├── WSEConnectionError         ConnectionError   no connection, or it ended
    ├── WSETimeoutError            TimeoutError      no answer in time
    ├── WSEAuthError               PermissionError   token or origin refused
    ├── WSEEncryptionError                           no common key, or a message that does not open
    ├── WSERequestError            ValueError        a request that the client or the server refused
    │   └── WSESubscriptionError                     topics that the server refused
    └── WSEUsageError              RuntimeError      wrong event loop, or a forked process

``code`` is the stable text of the protocol, the same in every language (PROTOCOL.md §9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = [
    "WSEAuthError",
    "WSEConfigError",
    "WSEConnectionError",
    "WSEEncryptionError",
    "WSEError",
    "WSERequestError",
    "WSESubscriptionError",
    "WSETimeoutError",
    "WSEUsageError",
]


class WSEError(Exception):
    """Root of all errors of this package."""

    code: str
    """Stable code, for example ``"AUTH_FAILED"``."""
    retryable: bool
    """Whether doing the same again later can work without a change by the application."""

    def __init__(self, message: str, *, code: str = "SERVER_ERROR", retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


class WSEConfigError(WSEError, ValueError):
    """A setting that cannot be used; the text names it and says what is allowed."""


class WSEConnectionError(WSEError, ConnectionError):
    """The server could not be reached, or the connection is gone."""


class WSETimeoutError(WSEError, TimeoutError):
    """No answer in time, or a server that went silent."""


class WSEAuthError(WSEError, PermissionError):
    """The server refused the token or the origin, or the token provider failed."""


class WSEEncryptionError(WSEError):
    """Encryption was asked for, and no key could be agreed."""


class WSERequestError(WSEError, ValueError):
    """A message or request that cannot be sent as it is."""


class WSESubscriptionError(WSERequestError):
    """The server refused topics. Those in ``accepted`` are subscribed all the same."""

    accepted: tuple[str, ...]
    """Topics that the server accepted in the same request."""
    refused: Mapping[str, str]
    """Topics that the server refused, each with its reason."""

    def __init__(
        self, message: str, *, code: str, accepted: Sequence[str] = (), refused: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.accepted = tuple(accepted)
        self.refused = dict(refused or {})


class WSEUsageError(WSEError, RuntimeError):
    """The client was used where it cannot work: in a second event loop, or in a forked process."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="INVALID_REQUEST")


_CLASSES: dict[str, type[WSEError]] = {
    "INVALID_CONFIG": WSEConfigError,
    "TIMEOUT": WSETimeoutError,
    "PEER_SILENT": WSETimeoutError,
    "AUTH_REQUIRED": WSEAuthError,
    "AUTH_FAILED": WSEAuthError,
    "ORIGIN_NOT_ALLOWED": WSEAuthError,
    "TOKEN_PROVIDER_FAILED": WSEAuthError,
    "DECRYPT_FAILED": WSEEncryptionError,
    "ENCRYPTION_REQUIRED": WSEEncryptionError,
    "KEY_EXCHANGE_FAILED": WSEEncryptionError,
    "NO_KEY": WSEEncryptionError,
    "INVALID_ACTION": WSERequestError,
    "INVALID_ENVELOPE": WSERequestError,
    "INVALID_REQUEST": WSERequestError,
    "INVALID_SUBSCRIPTION": WSERequestError,
    "INVALID_TOPIC": WSERequestError,
    "MESSAGE_TOO_LARGE": WSERequestError,
    "PUBLISH_DENIED": WSERequestError,
    "TOO_DEEP": WSERequestError,
    "TOO_MANY_TOPICS": WSERequestError,
    "TOPIC_DENIED": WSERequestError,
}


def _error(code: str, message: str, retryable: bool) -> WSEError:
    """The error for a code of the engine; codes without a class of their own are connection trouble."""
    return _CLASSES.get(code, WSEConnectionError)(message, code=code, retryable=retryable)


def _refusal(code: str, message: str, retryable: bool) -> WSEError:
    """The error for a request that the server refused, with the server's own code."""
    return _CLASSES.get(code, WSERequestError)(message or code, code=code, retryable=retryable)
