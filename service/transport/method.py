"""A method that a server has."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class ServedMethod:
    """A method, and how it is called."""

    path: str
    behavior: Callable[..., Any]
    on_loop: Callable[..., Any] | None
    """The same where nothing may wait."""
    refused_unread: Callable[[int], None] | None
    """To be told how many of its calls were refused by their headers."""
    pool: ThreadPoolExecutor
    takes_stream: bool
    gives_stream: bool
    calls_back: bool
    """Its stream needs no thread: it is given a function that sends."""
    decode: Callable[[bytes], Any] | None
    encode: Callable[[Any], bytes] | None
