"""A server that follows object storage: it begins empty, goes over, and stays with what it has while that is away."""

import json
import urllib.request
from pathlib import Path

import pytest

from pricegrid import Client, Line, ReserveLine, UnavailableError
from pricegrid.loaders.store.snapshot import current_version
from pricegrid.service.cli.main import main
from pricegrid.service.identity.mint import make_key
from tests.servers import Server, running, until
from tests.written import write_tables

SHOP = {
    "items": "sku,base_uom\nA,EA\nB,EA",
    "price_books": "book_id,layer,currency\nLIST,list,EUR",
    "price_entries": "book_id,sku,method,value\nLIST,A,net,1\nLIST,B,net,2",
    "branches": "branch\nHAM",
    "stock": "sku,branch,on_hand,as_of\nA,HAM,5,2026-03-02T06:00:00Z",
}


def load(folder: Path, url: str, sku: str, *options: str) -> str:
    """Publishes the shop with one item more; the version."""
    write_tables(folder / "shop", {**SHOP, "items": SHOP["items"] + f"\n{sku},EA"})
    command = ["load", str(folder / "shop"), "--store", str(folder / "made"), "--publish", url, *options]
    assert main([*command, "--sign-key", str(folder / "key"), "--force"]) == 0
    return current_version(folder / "made")


def metric(server: Server, name: str) -> float:
    page = f"http://127.0.0.1:{server.ready['metrics_port']}/metrics"
    text = urllib.request.urlopen(page, timeout=10).read().decode()
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return float(line.split()[-1])


def maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.server
def test_a_server_follows_and_stays_with_what_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_key(tmp_path / "key", tmp_path / "jwks")
    remote, away = tmp_path / "remote", tmp_path / "away"
    url = f"file://{remote}"
    first = load(tmp_path, url, "C")
    options = ["--workers", "1", "--grace", "1", "--metrics-port", "0", "--read-only"]
    options += ["--follow", url, "--snapshot-keys", str(tmp_path / "jwks")]

    with running(tmp_path / "served", *options) as server, Client(server.address) as client:

        def served() -> str:
            answer = client.price_lines("", [Line("A", 1)], currency="EUR", timeout_s=30)
            assert answer.lines[0].status.name == "OK"
            return answer.snapshot_version

        assert served() == first
        assert "obstore" in maps(server.process.pid)
        assert not any("obstore" in maps(pid) for pid in (*server.workers(), *server.writer()))
        with pytest.raises(UnavailableError, match="no live state here to change"):
            client.reserve([ReserveLine("A", 1, "HAM")], customer_id="", key="k")

        second = load(tmp_path, url, "D")
        until(lambda: served() == second, "the second is served")
        assert metric(server, "pricegrid_follow_fetched_bytes_total") > 0

        remote.rename(away)
        until(
            lambda: any("gives no snapshot since" in line for line in server.log), "that it is away is told"
        )
        assert (served(), metric(server, "pricegrid_follow_refused")) == (second, 0)
        assert metric(server, "pricegrid_follow_age_seconds") > 0
        away.rename(remote)

        pointer = json.loads((remote / "current").read_text())
        forged = {**pointer, "sequence": pointer["sequence"] + 1, "snapshot": first}
        (remote / "current").write_text(json.dumps(forged))
        until(lambda: metric(server, "pricegrid_follow_refused") == 1, "the forged pointer is refused")
        assert served() == second
        (remote / "current").write_text(json.dumps(pointer))
        until(lambda: metric(server, "pricegrid_follow_refused") == 0, "the right one is taken")

    capsys.readouterr()
