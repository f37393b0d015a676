"""A PostgreSQL server of its own, on a unix socket in a folder that is removed with it.

It takes `postgres` and `initdb` from the PATH, or from where Debian keeps them. PostgreSQL refuses to run as root: then
it runs as the user `postgres`, or as `nobody`. Everything that makes writes safe is off and the cells fit into its
buffers, so that only reading is measured.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DATABASE = "postgres"
SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "1GB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "8GB",
    "maintenance_work_mem": "512MB",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "jit": "off",
    "autovacuum": "off",
}


class UnavailableError(Exception):
    """It can't run here; the text says why."""


@dataclass(frozen=True, slots=True)
class _User:
    """As whom it runs; None: as we do."""

    name: str | None
    uid: int | None = None
    gid: int | None = None


def program(name: str) -> str:
    """Where a program of PostgreSQL is; raises `UnavailableError`."""
    found = shutil.which(name)
    if found is None:
        for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}")):
            found = str(path)
    if found is None:
        raise UnavailableError(f"there is no {name} on the PATH")
    return found


def _user() -> _User:
    if os.geteuid():
        return _User(None)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return _User(name, entry.pw_uid, entry.pw_gid)
    raise UnavailableError("it does not run as root, and there is neither a user postgres nor nobody")


def _checked(words: list[str], user: _User, folder: Path) -> None:
    done = subprocess.run(
        words,
        cwd=folder,
        user=user.uid,
        group=user.gid,
        extra_groups=None if user.uid is None else [],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise UnavailableError(f"{Path(words[0]).name} failed: {said[-1] if said else done.returncode}")


@contextmanager
def postgres_server() -> Iterator[str]:
    """What to connect to; raises `UnavailableError` if there is none to be had."""
    initdb, postgres, user = program("initdb"), program("postgres"), _user()
    folder = Path(tempfile.mkdtemp(prefix="pricegrid-postgres-"))
    try:
        if user.uid is not None and user.gid is not None:
            os.chown(folder, user.uid, user.gid)
        cluster = folder / "cluster"
        _checked(
            [initdb, "-D", str(cluster), "-U", DATABASE, "-A", "trust", "--no-locale", "-E", "UTF8", "-N"],
            user,
            folder,
        )
        settings = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [postgres, "-D", str(cluster), "-k", str(folder), *settings],
                cwd=folder,
                stdout=log,
                stderr=log,
                user=user.uid,
                group=user.gid,
                extra_groups=None if user.uid is None else [],
            )
        try:
            yield f"host={folder} user={DATABASE} dbname={DATABASE}"
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
