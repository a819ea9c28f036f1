"""Reserves loopback ports for servers that must know their port before they start. Also
used by tests/documents.py."""

import random
import socket

# Below the range from which the system allocates ports for outgoing connections.
RANGE = range(20_000, 32_000)
# Reservations last as long as this process. Each is represented by an abstract Unix socket: the
# kernel refuses a second bind of its name in any process, and removes it with the process.
_reserved = []


def reserve_port():
    """Returns a free port that no other call returns, in this process or in another one."""
    for port in random.sample(RANGE, len(RANGE)):
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0keyswap-test-port-{port}")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            mark.close()
            continue
        _reserved.append(mark)
        return port
    raise AssertionError(f"no port of {RANGE} is free")
