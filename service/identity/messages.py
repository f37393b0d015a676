"""What the supervisor and its workers tell each other about keys."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """To a worker: the key sets, JSON by issuer, which replace those that it has."""

    sets: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """From a worker: a token names a key that is in no set."""
