"""The published wse-server as its users run it: drain mode, a host that counts. Talks as wse-bench-host does."""

import os
import socket
import sys
import threading
import time

from wse_server._wse_accel import RustWSEServer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Host:
    def __init__(self, secret: bytes) -> None:
        self.counted = 0
        self.port = free_port()
        self.server = RustWSEServer("127.0.0.1", self.port, max_connections=20000, jwt_secret=secret)
        self.server.enable_drain_mode()
        self.server.start()
        self.wait_until_listening()

    def wait_until_listening(self) -> None:
        """`start` answers before the port is open."""
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.05)

    def drain(self) -> None:
        """Counts messages; who asks for the topic gets it."""
        while True:
            for event in self.server.drain_inbound(4096, 50):
                if event[0] != "msg":
                    continue
                if event[2]["t"] == "subscription_update":
                    self.server.subscribe_connection(event[1], ["bench"])
                    self.server.send(event[1], '{"t":"subscription_update"}')
                else:
                    self.counted += 1

    def publish(self, first: int, count: int, size: int) -> None:
        publish = self.server.broadcast_local
        for number in range(first, first + count):
            head = '{"c":"U","t":"trade","p":{"n":"%010d","at":"%016d","note":"' % (number, time.time_ns() // 1000)
            tail = '"},"tp":"bench","v":1}'
            publish("bench", head + "x" * (size - len(head) - len(tail)) + tail)


def main() -> None:
    host = Host(sys.argv[1].encode())
    threading.Thread(target=host.drain, daemon=True).start()
    print(f"listening 127.0.0.1:{host.port}", flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "count":
            print(host.counted, flush=True)
        else:
            host.publish(*map(int, words[1:]))
            print("done", flush=True)
    os._exit(0)


main()
