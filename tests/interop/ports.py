"""Reserves loopback ports for servers that must know their port before they start. Used by tests/readme.py as well."""

import random
import socket

# Below the range from which the system takes ports for outgoing connections.
RANGE = range(20_000, 32_000)
# Reservations last as long as this process. An abstract Unix socket is the mark of one: the kernel lets nobody else bind the
# same name, in whichever process, and removes it with its process.
_reserved = []


def reserve_port():
    """A free port that no other call gets, in this process or in another one."""
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
