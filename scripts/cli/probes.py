"""Whether a server answers, asked by hand: clients take longer to import than to ask."""

from __future__ import annotations

import contextlib
import socket
import struct


def kafka_answers(address: str, *, ask: bool = True, timeout_s: float = 1.0) -> bool:
    """Say whether a broker at `host:port` (the first of a list counts) answers.

    The request is ApiVersions v0, which a broker answers to anybody.

    Args:
        address: where the broker is.
        ask: send the request; otherwise an accepted connection is enough.
        timeout_s: seconds to wait for each step.
    """
    host, _, port = address.split(",", maxsplit=1)[0].rpartition(":")
    with (
        contextlib.suppress(OSError, ValueError),
        socket.create_connection((host, int(port)), timeout=timeout_s) as connection,
    ):
        if not ask:
            return True
        connection.sendall(struct.pack(">ihhih", 10, 18, 0, 1, -1))
        return len(connection.recv(8)) > 0
    return False


def redis_answers(address: str) -> bool:
    """Say whether a Redis without a password answers at `host:port`."""
    host, _, port = address.rpartition(":")
    with (
        contextlib.suppress(OSError),
        socket.create_connection((host, int(port)), timeout=1.0) as connection,
    ):
        connection.sendall(b"PING\r\n")
        return connection.recv(5) == b"+PONG"
    return False


def redis_url_answers(url: str) -> bool:
    """Ask through the client, which knows about passwords, TLS and sockets."""
    import redis  # noqa: PLC0415 - most commands never need the client

    client = redis.Redis.from_url(url, socket_timeout=2.0)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
