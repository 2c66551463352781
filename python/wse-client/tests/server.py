"""The server binary on a free port, and tokens for it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

API_KEY = "key-of-the-tests"
START_LIMIT = 20.0


class Server:
    """`with Server(binary) as server:` runs it; `kill` and `start` restart it on the same port."""

    def __init__(self, binary: Path, *options: str, secret: str | None = None) -> None:
        self._binary = binary
        self._options = options
        self._secret = secret
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.NamedTemporaryFile(prefix="wse-server-", suffix=".log")

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/wse"

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._log.close()

    def start(self) -> None:
        command = [str(self._binary), "--host", "127.0.0.1", "--port", str(self._port), "--api-key", API_KEY]
        # Clients that are sent away come back at once; by default a server spreads them over seconds.
        command += ["--drain-window", "0s", "--drain-retry-after", "0s"]
        command += self._options
        if self._secret is not None:
            command += ["--jwt-secret", self._secret]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        deadline = time.monotonic() + START_LIMIT
        while not self._is_healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._log.seek(0)
                raise RuntimeError(f"{' '.join(command)} did not start:\n{self._log.read().decode(errors='replace')}")
            time.sleep(0.02)

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/wse/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def kill(self) -> None:
        """Ends it at once, without a goodbye to anyone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Asks it to end, as an operator does."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(timeout=20)
        self._process = None

    def publish(self, topic: str, type: str, payload: Any, **headers: str) -> dict[str, Any]:
        """Publishes by HTTP, as a backend does."""
        body = json.dumps({"topic": topic, "type": type, "payload": payload}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/wse/publish",
            data=body,
            headers={"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json", **headers},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            result: dict[str, Any] = json.load(answer)
            return result


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def token(secret: str, *, expires_in: float = 600, **claims: Any) -> str:
    """An HS256 token."""
    now = int(time.time())
    body = {"sub": "tester", "iat": now, "exp": int(now + expires_in), **claims}
    signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, body))
    return f"{signed}.{_base64(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
