"""A process that commits on one key as fast as it can, and prints every version that it won. For tests.

python -m tests.cache_child DIRECTORY REDIS_PORT(0: embedded) NAME WINS [forbidden system call]
"""

import ctypes
import sys
from pathlib import Path

from pricegrid.cache.embedded import EmbeddedStateCache
from pricegrid.cache.protocol import CacheUnavailableError, Commit, Committed, Health, Put
from pricegrid.cache.redis_store import RedisStateCache
from tests.cache_worlds import options
from tests.redis_servers import HOST, until

FDATASYNC, FSYNC, PWRITE64 = 75, 74, 18  # x86-64
EIO, ENOSPC = 5, 28


def fail(calls: dict[int, int]) -> None:
    """From here on the kernel answers some system calls of this process with an error."""

    def statement(code, jump_true, jump_false, value):
        return code.to_bytes(2, "little") + bytes([jump_true, jump_false]) + value.to_bytes(4, "little")

    load, equal, answer = 0x20, 0x15, 0x06
    lines = [statement(load, 0, 0, 0)]
    for number, error in calls.items():
        lines += [statement(equal, 0, 1, number), statement(answer, 0, 0, 0x00050000 | error)]
    lines.append(statement(answer, 0, 0, 0x7FFF0000))
    code = ctypes.create_string_buffer(b"".join(lines))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    program = Program(len(lines), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0, "no seccomp here"


def main(directory: str, port: str, name: str, wins: str, failing: str = "") -> None:
    """Wins so often, then ends."""
    if port == "0":
        store = EmbeddedStateCache(Path(directory))
    else:
        store = RedisStateCache(options((HOST, int(port))), Path(directory))
        until(lambda: store.health is Health.OK, "OK")
    print("ready", flush=True)
    version, won = 0, 0
    while won < int(wins):
        if failing and won == int(wins) // 2:
            fail({"fsync": {FDATASYNC: EIO, FSYNC: EIO}, "full": {PWRITE64: ENOSPC}}[failing])
        try:
            (result,) = store.commit(
                [Commit({("s", "x"): version}, [Put("s", "x", name.encode())], [name.encode()])]
            )
        except CacheUnavailableError as error:
            print(type(error).__name__, error, flush=True)
            record = store.get([("s", "x")])[0]
            print("stands", record.version, flush=True)
            return
        version = result.versions["s", "x"]
        if isinstance(result, Committed):
            won += 1
            print("won", version, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
