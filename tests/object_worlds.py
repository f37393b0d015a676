"""Stores that share snapshots through object storage: a producer, followers, and what is between them."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from pricegrid.loaders.objects.layout import CURRENT
from pricegrid.loaders.objects.pull import Pulled, Puller
from pricegrid.loaders.objects.push import Pushed, push
from pricegrid.loaders.objects.storage import ObjectStorage, open_storage
from pricegrid.loaders.objects.target import Pointers
from pricegrid.loaders.store.signing import TrustedKeys, read_private_key, read_trusted_keys
from pricegrid.loaders.store.snapshot import activate, open_snapshot, write_snapshot
from pricegrid.service.identity.mint import make_key

WORDS = 100_000
"""Of the large array: 800 KB, several chunks."""


@dataclass(frozen=True, slots=True)
class World:
    """A folder with a producer's store `made`, the storage `remote`, and followers."""

    folder: Path
    url: str
    signs: bool = False

    @property
    def storage(self) -> ObjectStorage:
        return open_storage(self.url, to_write=True)

    @property
    def remote(self) -> Path:
        """The folder of a storage of files."""
        return Path(self.url.removeprefix("file://"))

    @property
    def keys(self) -> TrustedKeys | None:
        return read_trusted_keys(self.folder / "jwks") if self.signs else None

    def make(self, minute: int, *, changed: int = 0, store: str = "made") -> str:
        """A snapshot whose arrays differ by `changed`, made at that minute; active in the store."""
        values = np.random.default_rng(1).integers(0, 1 << 40, WORDS)
        values[:changed] += 1
        arrays = {"values": values, "few": np.array([changed]), "same": np.arange(10)}
        version = write_snapshot(
            self.folder / store,
            arrays,
            {"counts": {}},
            created_at=datetime(2026, 3, 2, 4, minute, tzinfo=UTC),
            kept={"kept_sample.parquet": b"for later loads"},
            key=read_private_key(self.folder / "key") if self.signs else None,
        )
        activate(self.folder / store, version)
        return version

    def push(self, version: str, *, store: str = "made", **options: bool) -> Pushed:
        key = read_private_key(self.folder / "key") if self.signs else None
        return push(self.storage, self.folder / store, version, key=key, **options)

    def published(self, minute: int, *, changed: int = 0) -> str:
        """The version of a snapshot that is made and pushed."""
        version = self.make(minute, changed=changed)
        self.push(version)
        return version

    def pull(self, name: str = "served", *, accept_older: bool = False, **options: object) -> Pulled:
        """What a follower does at a poll."""
        pin, canary = str(options.pop("pin", "")), bool(options.pop("canary", False))
        keys, store = self.keys, self.folder / name

        def check(place: Path, version: str) -> None:
            open_snapshot(place, version, keys=keys)

        storage = options.pop("storage", None) or self.storage
        pointers = Pointers(storage, store, canary, pin)
        puller = Puller(storage, store, **{"check": check, **options})
        return puller.take(pointers.look(keys, accept_older=accept_older), keys)

    def object_of(self, sha256: str) -> Path:
        """The file of an object, where the storage is one of files."""
        return self.remote / "objects" / sha256[:2] / sha256

    def point(self, name: str = CURRENT, **changes: object) -> None:
        """Changes a pointer as somebody can who may write there."""
        path = self.remote / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def file_world(folder: Path, *, signs: bool = False) -> World:
    """One whose storage is a folder."""
    make_key(folder / "key", folder / "jwks")
    make_key(folder / "other", folder / "others")
    return World(folder, f"file://{folder}/remote", signs)


def unsigned(world: World) -> World:
    """The same without a key."""
    return replace(world, signs=False)


def shown(store: Path) -> int:
    """What the active snapshot of a store says, every byte verified."""
    return int(open_snapshot(store).arrays["few"][0])


class _Door(http.server.SimpleHTTPRequestHandler):
    """Serves files with an ETag, as web servers and CDNs do."""

    def send_head(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return super().send_head()
        mark = f'"{hashlib.sha256(path.read_bytes()).hexdigest()}"'
        self.server.asked.append((self.path, self.headers.get("If-None-Match") == mark))
        if self.headers.get("If-None-Match") == mark:
            self.send_response(304)
            self.end_headers()
            return None
        self.mark = mark
        return super().send_head()

    def end_headers(self):
        if mark := getattr(self, "mark", ""):
            self.send_header("ETag", mark)
        super().end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def http_door(folder: Path) -> Iterator[tuple[str, list[tuple[str, bool]]]]:
    """A web server over a folder: its URL, and what it was asked for and had not changed."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Door, directory=str(folder))) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.asked
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """moto's server of S3 in a process of its own, with the bucket `shop`; the environment that leads to it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.s3_server"], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    try:
        endpoint = process.stdout.readline().strip()
        assert endpoint, "moto did not start"
        yield {
            **os.environ,
            "AWS_ENDPOINT": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stdin.close()
