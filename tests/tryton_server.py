"""Tryton as it really runs: its environment, a seeded database built once for all test processes, and a server."""

import contextlib
import datetime as dt
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tests.ports import free_port

ROOT = Path(__file__).parent.parent
SEED = ROOT / "examples" / "tryton"
PYTHON = ROOT / ".tryton" / "bin" / "python"
DEADLINE_S = 120.0  # far beyond what it takes
NIGHT = dt.timedelta(minutes=10)
"""How long the tests of a module may take on a busy machine."""


def today() -> dt.date:
    """The day the seeded database counts from, and the one Tryton goes by: in UTC."""
    return dt.datetime.now(dt.UTC).date()


def wait_for_midnight_if_near() -> None:
    """What was seeded is of one day, and so must be all that is asked of it."""
    while (dt.datetime.now(dt.UTC) + NIGHT).date() != today():
        time.sleep(1)


def seeded_database() -> Path:
    """A folder with the seeded database of today, built if nobody has yet; not to be written to."""
    name = sha256(
        b"".join(path.read_bytes() for path in sorted(SEED.iterdir()) if path.is_file())
    ).hexdigest()
    cache = Path(tempfile.gettempdir()) / f"pricegrid-tryton-{os.getuid()}"
    built = cache / f"{today()}-{name[:12]}"
    cache.mkdir(mode=0o700, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            if not PYTHON.exists():
                subprocess.run(["make", "-s", "tryton"], cwd=ROOT, check=True)
            for old in cache.glob("*-*-*"):
                shutil.rmtree(old)
            making = cache / "making"
            shutil.rmtree(making, ignore_errors=True)
            command = [str(SEED / "build.sh"), str(PYTHON), str(making), str(today())]
            subprocess.run(command, check=True, capture_output=True)
            making.rename(built)
    return built


@dataclass(frozen=True, slots=True)
class Tryton:
    """A running server."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    def config(self, text: str = "") -> Path:
        """A configuration of pricegrid for this server, with more TOML at its end."""
        path = self.folder / f"erp-{sha256(text.encode()).hexdigest()[:8]}.toml"
        path.write_text(
            'adapter = "tryton"\n\n[tryton]\n'
            f'url = "{self.url}"\ndatabase = "erp"\nuser = "admin"\npassword_file = "{self.folder}/password"\n\n{text}'
        )
        return path


@contextlib.contextmanager
def running_tryton(folder: Path, port: int = 0) -> Iterator[Tryton]:
    """Serves a copy of the seeded database from `folder`, on a port that is free unless one is given."""
    wait_for_midnight_if_near()
    if not (folder / "erp.sqlite").exists():
        source = seeded_database()
        for name in ("erp.sqlite", "password"):
            shutil.copy(source / name, folder / name)
    port = port or free_port()
    config = folder / "trytond.conf"
    config.write_text(
        f"[database]\nuri = sqlite://\npath = {folder}\n[web]\nlisten = 127.0.0.1:{port}\n"
        "[session]\nauthentications = password\nmax_attempt = 1000\n"
    )
    command = [str(PYTHON.parent / "trytond"), "-c", str(config), "-d", "erp"]
    with (folder / "trytond.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process, folder)
        yield Tryton(url, folder, process)
    finally:
        process.kill()
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    give_up_s = time.monotonic() + DEADLINE_S
    while True:
        try:
            urllib.request.urlopen(f"{url}/erp/rpc/", b"{}", 5).close()
            return
        except urllib.error.HTTPError:  # it answers, if only that the question is none
            return
        except (urllib.error.URLError, ConnectionError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
                raise AssertionError((folder / "trytond.log").read_text()) from None
            assert time.monotonic() < give_up_s, "Tryton never answered"
