"""Watching a real server: worker processes, a real store, the real client."""

from decimal import Decimal

import pytest

import pricegrid
from pricegrid import Client, Line
from tests.servers import running
from tests.stores import publish, stocked_rows

pytestmark = pytest.mark.slow


def test_a_watch_sees_the_next_snapshot_and_the_end_of_the_server(tmp_path):
    rows = stocked_rows()
    first = publish(tmp_path, rows)
    # Were the watch not ended, the server would not stop for longer than the test waits.
    with running(tmp_path, "--workers", "1", "--grace", "300") as server, Client(server.address) as client:
        watch = client.watch_availability([Line("S4")], branches=["RTM"], timeout_s=60)
        before = next(watch)
        stock = next(row for row in rows["stock"] if (row["sku"], row["branch"]) == ("S4", "RTM"))
        stock["on_hand"] = "2"
        second = publish(tmp_path, rows, minute=1)
        after = next(watch)
        code = server.stop()
        with pytest.raises(pricegrid.UnavailableError) as ended:
            next(watch)

    told = [
        (update.snapshot_version, [change.availability.available for change in update.changes])
        for update in (before, after)
    ]
    assert told == [(first, [Decimal(3)]), (second, [Decimal(2)])]
    assert (code, ended.value.reason) == (0, "SERVER_STOPPING")
