"""A unix socket in place of a port: made where nobody else can put one of their own, and never taken from a server.

Who may connect is what its mode says. Its file is left behind by a server that was killed, and taken away by the next.
"""

import contextlib
import fcntl
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pricegrid.service.identity.files import exposed
from pricegrid.service.process.reach import ServeError

MODES: Final = {"0600": 0o600, "0660": 0o660, "0666": 0o666}
"""For the server's user, for their group too, for every user of the machine."""
PATH_BYTES_MAX: Final = 107
SCHEME: Final = "unix:"
_PLAIN: Final = re.compile(r"/[A-Za-z0-9._~/@+,=-]+")
"""What stands for itself in an address: gRPC reads it as a URI."""
_PROBE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """Where to listen, and who may connect."""

    path: Path
    mode: int = MODES["0660"]

    @property
    def address(self) -> str:
        """As a client takes it."""
        return f"{SCHEME}{self.path}"


@contextlib.contextmanager
def held_socket(wanted: UnixSocket) -> Iterator[socket.socket]:
    """A socket at that path on which nobody listens yet; its file is gone afterwards. Raises ServeError where another
    server is, or where others could put one. While it is held no other server takes the path."""
    path = wanted.path
    _check_path(path)
    with contextlib.ExitStack() as stack:
        _lock(path, stack)
        try:
            _clear(path)
            made = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            bound_with(wanted, lambda: made.bind(str(path)))
            stack.callback(path.unlink, missing_ok=True)
        except OSError as error:
            raise ServeError(f"can't serve on {path}: {error.strerror}") from error
        yield made


def bound_with(wanted: UnixSocket, bind: Callable[[], object]) -> None:
    """Binds a socket whose file has the mode from its first moment, or less. Raises what `bind` raises, and OSError."""
    former = os.umask(0o177)
    try:
        bind()
    finally:
        os.umask(former)
    wanted.path.chmod(wanted.mode)


def _check_path(path: Path) -> None:
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise ServeError(f"--socket {path} is too long: {PATH_BYTES_MAX} bytes at most")
    if not _PLAIN.fullmatch(str(path)):
        raise ServeError(
            f"--socket {path} may hold letters, digits and ._~/@+,=- alone: it is part of an address"
        )
    if not path.parent.is_dir():
        raise ServeError(f"--socket {path}: there is no folder {path.parent}")
    if exposed(path.parent)[0]:
        raise ServeError(
            f"every user of this machine can change {path.parent}, and put a socket of their own in place of {path}: "
            "choose a folder that is the server's own"
        )


def _lock(path: Path, stack: contextlib.ExitStack) -> None:
    """Keeps the path from other servers for as long as the stack lasts; the system ends it with this process."""
    beside = path.with_name(f"{path.name}.lock")
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        stack.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ServeError(f"another server listens on {path}") from None
    except OSError as error:
        raise ServeError(f"can't serve on {path}: {beside}: {error.strerror}") from error


def _clear(path: Path) -> None:
    """Takes away the socket of a server that is gone; raises ServeError for anything else that is there."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ServeError(f"{path} is there already and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError:  # it is too busy to answer, or another's
            pass
    raise ServeError(f"another server listens on {path}")
