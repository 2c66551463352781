"""A server for the end-to-end tests: the published package wse-server 2.5.1, driven by JSON lines.

Its own standalone server does nothing with subscription requests; this application subscribes as asked, and answers
as the package's documentation shows, so that the tests see what a deployed server of that kind does.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from wse_server import RustWSEServer

lock = threading.Lock()


def say(**line: Any) -> None:
    with lock:
        sys.stdout.write(json.dumps(line, ensure_ascii=True, default=str) + "\n")
        sys.stdout.flush()


def on_message(server: RustWSEServer, connection: str, message: dict[str, Any], answer: bool) -> None:
    payload = message.get("p") or {}
    if message.get("t") == "subscription_update":
        topics = payload.get("topics", [])
        if payload.get("action") == "unsubscribe":
            server.unsubscribe_connection(connection, topics)
        else:
            server.subscribe_connection(connection, topics)
        if answer:
            reply = {"action": payload.get("action"), "success": True, "success_topics": topics, "failed_topics": []}
            server.send_event(connection, {"t": "subscription_update", "p": reply})
        say(event="subscribed", topics=topics)
    else:
        say(event="message", type=message.get("t"), payload=payload, connection=connection)


def drain(server: RustWSEServer, answer: bool, stopped: threading.Event) -> None:
    while not stopped.is_set():
        for kind, connection, data in server.drain_inbound(256, 50):
            if kind == "msg":
                on_message(server, connection, data, answer)
            else:
                say(event=kind, connection=connection, data=data if isinstance(data, str) else None)


def main() -> None:
    settings = json.loads(sys.argv[1])
    options: dict[str, Any] = {}
    if settings["secret"] is not None:
        options["jwt_secret"] = settings["secret"].encode()
    server = RustWSEServer("127.0.0.1", settings["port"], **options)
    server.enable_drain_mode()
    server.start()
    stopped = threading.Event()
    drainer = threading.Thread(target=drain, args=(server, settings["answer"], stopped))
    drainer.start()
    say(event="listening")
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "broadcast":
            server.broadcast(order["topic"], order["text"])
        elif order["do"] == "event":
            for connection in server.get_connections():
                server.send_event(connection, order["message"])
        elif order["do"] == "drain":
            server.drain(timeout=1)
            say(event="drained")
        elif order["do"] == "disconnect":
            for connection in server.get_connections():
                server.disconnect(connection)
        elif order["do"] == "close":
            break
    # stop() raises while another thread sits in drain_inbound, so that thread ends first.
    stopped.set()
    drainer.join()
    server.stop()


main()
