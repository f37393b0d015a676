"""Signed snapshots: a server with keys serves what was signed by one of them, and nothing else."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pricegrid import Client, Line
from pricegrid.loaders.errors import SnapshotError, SnapshotUnsignedError
from pricegrid.loaders.store.signing import (
    SigningKeyError,
    read_private_key,
    read_trusted_keys,
    signed_bytes,
    trust_of,
)
from pricegrid.loaders.store.snapshot import (
    _checksum,
    activate,
    current_version,
    open_snapshot,
    read_manifest,
    snapshot_folder,
    write_snapshot,
)
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.cli.main import main
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.identity.mint import make_key
from pricegrid.service.process.bootstrap import check_snapshot, version_opener
from tests.servers import running, until
from tests.written import write_tables

NIGHT = datetime(2026, 3, 2, 4, tzinfo=UTC)
SHOP = {
    "items": "sku,base_uom\nA,EA\nB,EA",
    "price_books": "book_id,layer,currency\nLIST,list,EUR",
    "price_entries": "book_id,sku,method,value\nLIST,A,net,1\nLIST,B,net,2",
}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """`key` and its public half `jwks`, `other` and `others`."""
    make_key(tmp_path / "key", tmp_path / "jwks")
    make_key(tmp_path / "other", tmp_path / "others")
    return tmp_path


def stored(folder: Path, key: str | None = "key", value: int = 7) -> Path:
    signing = None if key is None else read_private_key(folder / key)
    activate(
        folder / "store",
        write_snapshot(
            folder / "store", {"prices": np.array([value])}, {"counts": {}}, created_at=NIGHT, key=signing
        ),
    )
    return folder / "store"


def rewritten(store: Path, **changes: object) -> None:
    """Changes the manifest as somebody can who may write to the store and knows how it is made."""
    path = snapshot_folder(store, current_version(store)) / "manifest.json"
    manifest = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({**manifest, "checksum": _checksum(manifest)}))


def test_a_signed_snapshot_is_opened_with_its_key_and_without(keys: Path) -> None:
    store = stored(keys)

    assert open_snapshot(store, keys=read_trusted_keys(keys / "jwks")).arrays["prices"][0] == 7
    assert open_snapshot(store).arrays["prices"][0] == 7


@pytest.mark.parametrize(
    ("key", "why"), [(None, "is not signed"), ("other", "signed by a key that is not trusted")]
)
def test_a_snapshot_without_a_trusted_signature_is_refused(keys: Path, key: str | None, why: str) -> None:
    store = stored(keys, key)

    with pytest.raises(SnapshotUnsignedError, match=why):
        open_snapshot(store, keys=read_trusted_keys(keys / "jwks"))


@pytest.mark.parametrize(
    "member", ["files", "time_zone", "created_at", "content_sha256", "format_version", "counts", "anything"]
)
def test_no_member_of_a_manifest_can_change_behind_its_signature(keys: Path, member: str) -> None:
    store, trusted = stored(keys), read_trusted_keys(keys / "jwks")
    manifest = read_manifest(snapshot_folder(store, current_version(store)))

    with pytest.raises(SnapshotUnsignedError, match="changed since it was signed"):
        trusted.check({**manifest, member: "other"}, "it")
    rewritten(store, counts={"items": 1})
    with pytest.raises(SnapshotUnsignedError, match="changed since it was signed"):
        open_snapshot(store, keys=trusted)


@pytest.mark.parametrize("entry", [None, "text", {}, {"key": 1}, [], {"ed25519": "00"}])
def test_what_is_no_signature_is_refused(keys: Path, entry: object) -> None:
    store = stored(keys)
    rewritten(store, signature=entry)

    with pytest.raises(SnapshotUnsignedError):
        open_snapshot(store, keys=read_trusted_keys(keys / "jwks"))


@pytest.mark.parametrize("text", ["", "00", "zz", "00" * 64, "é"])
def test_a_forged_signature_is_refused(keys: Path, text: str) -> None:
    store = stored(keys)
    manifest = read_manifest(snapshot_folder(store, current_version(store)))
    rewritten(store, signature={**manifest["signature"], "ed25519": text})

    with pytest.raises(SnapshotUnsignedError, match="changed since it was signed"):
        open_snapshot(store, keys=read_trusted_keys(keys / "jwks"))


def test_the_signature_of_one_snapshot_is_none_of_another(keys: Path) -> None:
    first = read_manifest(snapshot_folder(store := stored(keys), current_version(store)))
    stored(keys, None, value=8)
    rewritten(store, signature=first["signature"])

    with pytest.raises(SnapshotUnsignedError, match="changed since it was signed"):
        open_snapshot(store, keys=read_trusted_keys(keys / "jwks"))


def test_the_same_content_in_the_same_second_does_not_pass_for_signed(keys: Path) -> None:
    """Its version is the same, and a snapshot does not change: not even by a signature."""
    version = current_version(store := stored(keys, None))

    with pytest.raises(SnapshotError, match=f"{version} is there already, without this signature"):
        stored(keys)
    with pytest.raises(SnapshotUnsignedError):
        open_snapshot(store, keys=read_trusted_keys(keys / "jwks"))


def test_a_signature_is_of_a_manifest_and_of_nothing_else(keys: Path) -> None:
    """A key may sign tokens too: what a token's signature covers begins otherwise."""
    assert signed_bytes({}).startswith(b"pricegrid snapshot manifest\n")


def test_an_array_that_changed_is_refused_though_its_manifest_is_signed(keys: Path) -> None:
    path = snapshot_folder(store := stored(keys), current_version(store)) / "prices.npy"
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)

    with pytest.raises(Exception, match="SHA-256"):
        open_snapshot(store, keys=read_trusted_keys(keys / "jwks"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("[", "is not JSON"),
        ("[]", "is no JWKS"),
        ('{"keys": 1}', "is no JWKS"),
        ('{"keys": []}', "has no Ed25519 key"),
        ('{"keys": [{"crv": "Ed25519", "x": "AA"}]}', "has no public half"),
        ('{"keys": [{"crv": "Ed25519", "x": "é"}]}', "has no public half"),
        ('{"keys": [{"crv": "Ed25519", "x": "AA", "d": "secret"}]}', "holds a private key"),
    ],
)
def test_a_file_that_holds_no_keys_is_named(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "jwks").write_text(content)

    with pytest.raises(SigningKeyError, match=f"jwks.*{why}"):
        read_trusted_keys(tmp_path / "jwks")


def load(folder: Path, *options: str) -> int:
    return main(["load", str(folder / "shop"), "--store", str(folder / "store"), *options])


def test_a_load_signs_and_a_delta_stands_on_what_was_signed_alone(keys: Path, capsys) -> None:
    write_tables(keys / "shop", SHOP)
    trusted = read_trusted_keys(keys / "jwks")
    assert load(keys, "--sign-key", str(keys / "key")) == 0
    open_snapshot(keys / "store", keys=trusted)

    write_tables(keys / "shop2", {"price_entries": "book_id,sku,method,value\nLIST,A,net,1.5"}, is_delta=True)
    delta = ["load", str(keys / "shop2"), "--store", str(keys / "store"), "--delta"]
    assert main([*delta, "--sign-key", str(keys / "other")]) == 1
    assert "signed by a key that is not trusted" in capsys.readouterr().err
    assert main([*delta, "--sign-key", str(keys / "key")]) == 0
    open_snapshot(keys / "store", keys=trusted)

    write_tables(keys / "shop2", {"price_entries": "book_id,sku,method,value\nLIST,A,net,1.6"}, is_delta=True)
    assert main(delta) == 0  # without a key: nobody vouches for it, so the signature below it is not kept
    with pytest.raises(SnapshotUnsignedError, match="is not signed"):
        open_snapshot(keys / "store", keys=trusted)
    assert trust_of(read_private_key(keys / "key")) == trusted


def test_a_load_whose_key_can_not_be_read_publishes_nothing(keys: Path, capsys) -> None:
    write_tables(keys / "shop", SHOP)

    assert load(keys, "--sign-key", str(keys / "jwks")) == 1
    assert "jwks holds no PEM key" in capsys.readouterr().err
    assert load(keys, "--sign-key", str(keys / "absent")) == 1
    assert "absent" in capsys.readouterr().err
    assert not (keys / "store" / "current").exists()


def test_a_store_is_nobodys_business_but_its_owners_and_their_groups(keys: Path) -> None:
    write_tables(keys / "shop", SHOP)
    assert load(keys) == 0
    version = current_version(keys / "store")

    for folder in ("", "snapshots", f"snapshots/{version}"):
        assert not (keys / "store" / folder).stat().st_mode & 0o027, folder


def test_a_base_that_is_replaced_while_a_delta_is_made_gives_it_no_price(keys: Path) -> None:
    """The delta is made of what was verified: what lies in its place by now has another hash."""
    store = stored(keys)
    base = open_snapshot(store, keys=read_trusted_keys(keys / "jwks"))
    folder = snapshot_folder(store, base.version)
    forged = write_snapshot(
        keys / "other store", {"prices": np.array([1])}, {"counts": {}}, created_at=NIGHT, key=None
    )
    for name in ("prices.npy", "manifest.json"):
        (folder / name).write_bytes((keys / "other store" / "snapshots" / forged / name).read_bytes())

    delta = write_snapshot(
        store,
        {"delta": np.array([2])},
        {},
        created_at=NIGHT,
        link_from={"prices": folder / "prices.npy"},
        base=base.manifest,
        key=read_private_key(keys / "key"),
    )
    with pytest.raises(SnapshotError, match=r"prices.npy is corrupt"):
        open_snapshot(store, delta, keys=read_trusted_keys(keys / "jwks"))


def test_a_snapshot_goes_by_no_other_name_than_its_own(keys: Path) -> None:
    """Its name says when it was made: by another one an old snapshot would pass for a new one."""
    store = stored(keys)
    version = current_version(store)
    newer = f"20301231T235959Z-{version[-8:]}"
    shutil.copytree(snapshot_folder(store, version), store / "snapshots" / newer)

    with pytest.raises(SnapshotError, match="belongs to another version"):
        open_snapshot(store, newer, keys=read_trusted_keys(keys / "jwks"))


def test_a_key_that_everybody_can_read_signs_nothing(keys: Path) -> None:
    (keys / "key").chmod(0o644)

    with pytest.raises(SigningKeyError, match=r"key can be read by every user of this machine: chmod o="):
        read_private_key(keys / "key")


def test_keys_that_vanished_are_no_want_of_files(keys: Path) -> None:
    version = current_version(store := stored(keys))
    (keys / "jwks").unlink()

    with pytest.raises(RequestRefusedError) as refused:
        version_opener(store, ExceptionPolicy(), lambda _: False, keys / "jwks")(version)
    assert refused.value.reason is Reason.SNAPSHOT_UNUSABLE


def test_activate_takes_keys(keys: Path, capsys) -> None:
    store = stored(keys, None)
    back = ["snapshots", "activate", "--store", str(store), current_version(store), "--snapshot-keys"]

    assert main([*back, str(keys / "jwks")]) == 1
    assert "is not signed" in capsys.readouterr().err


def test_a_snapshot_is_checked_before_it_is_served(keys: Path) -> None:
    write_tables(keys / "shop", SHOP)
    assert load(keys) == 0

    with pytest.raises(SnapshotUnsignedError):
        check_snapshot(keys / "store", None, ExceptionPolicy(), snapshot_keys=keys / "jwks")


@pytest.mark.server
def test_a_server_goes_over_to_signed_snapshots_alone(keys: Path) -> None:
    write_tables(keys / "shop", SHOP)
    key = ["--sign-key", str(keys / "key")]
    assert load(keys, *key) == 0
    first = current_version(keys / "store")

    with running(
        keys / "store", "--workers", "1", "--snapshot-keys", str(keys / "jwks"), "--grace", "1"
    ) as server:
        write_tables(keys / "shop", {**SHOP, "items": SHOP["items"] + "\nC,EA"})
        assert load(keys) == 0
        until(
            lambda: any("snapshot refused" in line and "not signed" in line for line in server.log), "refused"
        )
        with Client(server.address) as client:
            assert client.price_lines("", [Line("A", 1)], currency="EUR").snapshot_version == first
            write_tables(keys / "shop", {**SHOP, "items": SHOP["items"] + "\nC,EA\nD,EA"})
            assert load(keys, *key) == 0
            until(
                lambda: (
                    client.price_lines("", [Line("A", 1)], currency="EUR").snapshot_version
                    == current_version(keys / "store")
                ),
                "signed",
            )
