"""`pricegrid snapshots push|pull`, and the push of `load --publish`."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from pricegrid.loaders.errors import SnapshotUnsignedError
from pricegrid.loaders.objects.pull import Puller
from pricegrid.loaders.objects.push import Pushed, push
from pricegrid.loaders.objects.storage import open_storage
from pricegrid.loaders.objects.target import Pointers
from pricegrid.loaders.store.signing import read_private_key, read_trusted_keys
from pricegrid.loaders.store.snapshot import current_version, open_snapshot


def push_snapshot(url: str, store: Path, version: str, sign_key: Path | None) -> Pushed:
    """Pushes a snapshot of a store, as the newest one. Raises LoadError and OSError."""
    key = None if sign_key is None else read_private_key(sign_key)
    return push(open_storage(url, to_write=True), store, version, key=key)


def snapshots_push(args: argparse.Namespace) -> dict[str, object]:
    """What `snapshots push` does, JSON-able. Raises LoadError and OSError."""
    key = None if args.sign_key is None else read_private_key(args.sign_key)
    version = args.version or current_version(args.store)
    storage = open_storage(args.url, to_write=True)
    return asdict(push(storage, args.store, version, canary=args.canary, key=key, back=args.back))


def snapshots_pull(args: argparse.Namespace) -> dict[str, object]:
    """What `snapshots pull` does, JSON-able. Raises LoadError and OSError."""
    keys = None if args.snapshot_keys is None else read_trusted_keys(args.snapshot_keys)
    refuse_unknown_maker(args.url, args.snapshot_keys)
    storage = open_storage(args.url)

    def check(store: Path, version: str) -> None:
        open_snapshot(store, version, keys=keys)

    target = Pointers(storage, args.store, args.canary, args.version or "").look(
        keys, accept_older=args.accept_older
    )
    return asdict(Puller(storage, args.store, check, keep=args.keep).take(target, keys))


def refuse_unknown_maker(url: str, snapshot_keys: Path | None) -> None:
    """Raises SnapshotUnsignedError if nothing at all says who made what comes from there."""
    if snapshot_keys is None and url.startswith("http://"):
        raise SnapshotUnsignedError(f"{url} is not encrypted, so snapshots from there take --snapshot-keys")


def pushed_text(answer: dict[str, object]) -> str:
    """For people."""
    done = "is served from now on" if answer["is_new"] else "was served already"
    return (
        f"{answer['snapshot']} {done} as {answer['pointer']}, publication {answer['sequence']}: "
        f"{answer['sent_bytes']:,} of {answer['size_bytes']:,} bytes were sent, in {answer['sent_objects']} objects"
    )


def pulled_text(answer: dict[str, object]) -> str:
    """For people."""
    if not answer["is_new"]:
        return f"active already: {answer['snapshot']}"
    return (
        f"active: {answer['snapshot']}, {answer['fetched_bytes']:,} of {answer['size_bytes']:,} bytes were fetched, "
        f"in {answer['fetched_objects']} objects"
    )
