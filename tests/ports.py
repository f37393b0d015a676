"""Ports for servers of tests that have to be known before they start, or kept while nobody listens."""

import random
import socket

HOST = "127.0.0.1"
ABOVE = 10_000
"""A node of a Redis cluster talks so far above its port."""
_chance = random.SystemRandom()  # each process of the tests has others


def free_port() -> int:
    """A port that is free now, and the one `ABOVE` it, too. Below those that the system gives to callers: it stays free
    until its server starts, or starts anew."""
    while True:
        port = _chance.randrange(10_500, 22_000)
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind((HOST, port))
                other.bind((HOST, port + ABOVE))
            except OSError:
                continue
            return port
