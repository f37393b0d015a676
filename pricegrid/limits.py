"""Limits of the client that its command shows in its help, which imports nothing else of it."""

EVENTS_PER_MESSAGE = 1_000
"""Of one message that publishes events, each of which is made durable at once."""
EVENTS_PER_MESSAGE_MAX = 5_000
