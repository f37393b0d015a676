"""Pricegrid's public face: the client and its values. The protobuf messages are in `pricegrid.v1`.

Names are imported when they are first used: a server, and the command's `--help`, need no client.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pricegrid.api import *  # noqa: F403
    from pricegrid.api import __all__ as __all__


def __getattr__(name: str) -> object:
    if not name[:1].isupper() and name != "__all__":  # a module, such as `v1`: Python imports it then
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("pricegrid.api"), name)


def __dir__() -> list[str]:
    return sorted(importlib.import_module("pricegrid.api").__all__)
