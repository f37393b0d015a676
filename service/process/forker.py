"""Where workers and the writer come from: forks of one process that has imported what they run.

Imports take longer than all else in a start, and most of a worker's own memory: so they are done once, while the
supervisor verifies the snapshot, and shared. A process that serves can't be forked: neither gRPC nor a lock that
another thread holds would survive. This one asks and answers nothing and has one thread (`preloaded`).

It is there for as long as the server; should it die, the next process that is started brings a new one.
"""

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Final

PRELOADED: Final = ["pricegrid.service.process.preloaded"]
_PRIVATE_SOCKETS: Final = (3, 11, 1)
"""Python before that let every user of the machine connect (CVE-2022-42919)."""


def context() -> ForkServerContext | SpawnContext:
    """Makes processes that are forked from it; it is started unless it runs, and imports while the caller goes on.

    Its socket is in a temporary directory of this user's: where there is none each process imports for itself.
    """
    if sys.version_info >= _PRIVATE_SOCKETS:
        made = multiprocessing.get_context("forkserver")
        made.set_forkserver_preload(PRELOADED)
        with contextlib.suppress(OSError), _imports_as_here():
            forkserver.ensure_running()
            return made
    return multiprocessing.get_context("spawn")


@contextlib.contextmanager
def _imports_as_here() -> Iterator[None]:
    """What is started looks for modules where this process does: Python would look into the working directory first."""
    before = dict(os.environ)
    path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)  # noqa: PTH100 -- '' is here, too
    os.environ |= {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    try:
        yield
    finally:
        for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]
