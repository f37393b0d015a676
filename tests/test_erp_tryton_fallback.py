"""A server with Tryton behind it: exceptions of every kind are asked, validated, cached and returned with a source."""

import asyncio
import json
import urllib.request
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from time import monotonic

import pytest

from pricegrid import Client, ExceptionReason, Line, LineStatus, PriceSource
from pricegrid.erp.adapters import make_adapter
from pricegrid.erp.settings import read_settings
from pricegrid.service.cli.main import main
from tests.servers import Server, running, until
from tests.tryton_server import Tryton, running_tryton, today

pytestmark = pytest.mark.slow

CONFIG = "[parity]\nsample_per_million = 0\n[limits]\ntimeout_ms = 30000\nrequest_wait_ms = 60000\n"


@pytest.fixture(scope="module")
def tryton(tmp_path_factory) -> Tryton:
    with running_tryton(tmp_path_factory.mktemp("tryton")) as server:
        yield server


@pytest.fixture(scope="module")
def store(tryton, tmp_path_factory) -> Path:
    """The extract, with the agreement of one customer ended yesterday and the stock of one item unknown."""
    folder = tmp_path_factory.mktemp("store")
    dataset = folder / "dataset"
    config = tryton.config(CONFIG)
    words = ["load", str(dataset), "--store", str(folder / "store")]
    assert main([*words, "--from", "tryton", "--erp-config", str(config)]) == 0
    agreements = (dataset / "agreements.csv").read_text().splitlines()
    ended = (today() - timedelta(days=1)).isoformat()
    lines = [f"{line},{ended}" if line.endswith(",C004") else f"{line}," for line in agreements[1:]]
    (dataset / "agreements.csv").write_text("\n".join([f"{agreements[0]},valid_to", *lines]) + "\n")
    feeds = (dataset / "feeds.csv").read_text().replace("true", "false")
    (dataset / "feeds.csv").write_text(feeds)
    stock = (dataset / "stock.csv").read_text().splitlines()
    (dataset / "stock.csv").write_text(
        "\n".join(line for line in stock if not line.startswith("N-007")) + "\n"
    )
    assert main([*words, "--force"]) == 0  # a contract that ends and stock that goes are refused otherwise
    return folder / "store"


@pytest.fixture(scope="module")
def server(tryton, store) -> Server:
    options = ["--exception-above", "1000:EUR", "--exception-grace-days", "3", "--metrics-port", "0"]
    with running(store, "--workers", "1", "--erp-config", str(tryton.config(CONFIG)), *options) as serving:
        yield serving


def change(tryton: Tryton, formula_of: str, price: str) -> None:
    """Makes one price of the price list PL2, its first line for an item, a plain number."""

    async def write() -> None:
        adapter = make_adapter(read_settings(tryton.config(CONFIG)))
        until_s = monotonic() + 30
        domain = [
            ["price_list.name", "=", "PL2"],
            ["product.code", "=", formula_of],
            ["quantity", "=", Decimal("48.0")],
        ]
        (row,) = await adapter._rpc.rows(until_s, "product.price_list.line", domain, ["formula"])
        await adapter._rpc.model(until_s, "product.price_list.line", "write", [row["id"]], {"formula": price})
        await adapter.close()

    asyncio.run(write())


def flag(store: Path, *words: str) -> None:
    assert main(["erp", *words, "--store", str(store)]) == 0


def test_exceptions_of_every_kind_come_back_from_tryton(server, store):
    with Client(server.address) as client:

        def ask(customer: str, *lines: Line, currency: str | None = None):
            return client.price_lines(customer, lines, currency=currency, timeout_s=20).lines

        (ordinary,) = ask("C002", Line("N-012", 1))
        (kept_in_erp,) = ask("C011", Line("N-000", 3))
        (no_price,) = ask("", Line("N-012", 1), currency="EUR")
        (large,) = ask("C002", Line("N-012", 50))
        (expired,) = ask("C004", Line("N-020", 1))
        flag(store, "flag", "customer", "C003")
        until(lambda: ask("C003", Line("N-012", 1))[0].source is not PriceSource.MATRIX, "the flag is seen")
        (flagged,) = ask("C003", Line("N-013", 1))
        flag(store, "flag", "sku", "N-033")
        until(lambda: ask("C006", Line("N-033", 2))[0].source is not PriceSource.MATRIX, "the flag is seen")
        (flagged_item,) = ask("C006", Line("N-033", 1))
        again = [
            ask("C011", Line("N-000", 3))[0],
            ask("", Line("N-012", 1), currency="EUR")[0],
            ask("C002", Line("N-012", 50))[0],
            ask("C004", Line("N-020", 1))[0],
            ask("C003", Line("N-013", 1))[0],
            ask("C006", Line("N-033", 1))[0],
        ]
        flag(store, "unflag", "customer", "C003")
        flag(store, "unflag", "sku", "N-033")

    assert (ordinary.source, ordinary.book_id) == (PriceSource.MATRIX, "PL-3")
    first = [kept_in_erp, no_price, large, expired, flagged, flagged_item]
    assert [line.source for line in first] == [PriceSource.ERP] * 6
    assert [line.status for line in first] == [LineStatus.OK] * 6
    assert [line.exception for line in first] == [None] * 6
    assert kept_in_erp.unit_price == Decimal(5), "7.05 less 7.05 % 5"
    assert no_price.unit_price == Decimal("43.675"), "the list price"
    assert large.unit_price == Decimal("35.4859"), "43.675 * 0.8125"
    assert [line.source for line in again] == [PriceSource.ERP_CACHED] * 6
    assert [line.unit_price for line in again] == [line.unit_price for line in first]
    assert all(line.source_age is not None for line in again)


def test_another_price_list_of_a_customer_shows_after_an_invalidation(tryton, server, store):
    async def give(customer: str, price_list: str) -> None:
        adapter = make_adapter(read_settings(tryton.config(CONFIG)))
        until_s = monotonic() + 30
        (party,) = await adapter._rpc.rows(until_s, "party.party", [["code", "=", customer]], ["code"])
        (listed,) = await adapter._rpc.rows(
            until_s, "product.price_list", [["name", "=", price_list]], ["name"]
        )
        values = {"sale_price_list": listed["id"]}
        await adapter._rpc.model(until_s, "party.party", "write", [party["id"]], values)
        await adapter.close()

    with Client(server.address) as client:

        def ask() -> tuple[Decimal | None, PriceSource | None]:
            (line,) = client.price_lines("C007", [Line("N-012", 55)], timeout_s=20).lines
            return line.unit_price, line.source

        before, kept = ask(), ask()
        asyncio.run(give("C007", "PL2"))
        flag(store, "invalidate", "--customer", "C007")
        until(lambda: ask() != kept, "the kept answer is void")
        after = ask()

    assert (before[1], kept) == (PriceSource.ERP, (before[0], PriceSource.ERP_CACHED))
    assert after[0] == Decimal("35.4859") != before[0], "43.675 * 0.8125, as everybody with PL2"


def test_a_change_in_tryton_shows_after_an_invalidation(tryton, server, store):
    with Client(server.address) as client:

        def ask() -> tuple[Decimal | None, PriceSource | None]:
            (line,) = client.price_lines("C002", [Line("N-014", 60)], timeout_s=20).lines
            return line.unit_price, line.source

        before = ask()
        change(tryton, "N-014", "41.5")
        kept = ask()
        flag(store, "invalidate", "--customer", "C002", "--sku", "N-014")
        until(lambda: ask() != kept, "the kept answer is void")
        after = ask()

    assert before[1] is PriceSource.ERP
    assert kept == (before[0], PriceSource.ERP_CACHED)
    assert after[0] == Decimal("41.5") != before[0]


def test_a_change_in_tryton_shows_after_the_ttl(tryton, store, capsys):
    config = tryton.config(CONFIG + "[cache]\nttl_s = 2\n")
    with (
        running(
            store, "--workers", "1", "--erp-config", str(config), "--exception-above", "1000:EUR"
        ) as other,
        Client(other.address) as client,
    ):

        def ask() -> tuple[Decimal | None, PriceSource | None]:
            (line,) = client.price_lines("C002", [Line("N-013", 60)], timeout_s=20).lines
            return line.unit_price, line.source

        before = ask()
        until(lambda: ask() == (before[0], PriceSource.ERP_CACHED), "it is kept")
        change(tryton, "N-013", "43.25")
        until(lambda: ask()[0] == Decimal("43.25"), "the price that was changed")

    assert before[1] is PriceSource.ERP
    assert before[0] != Decimal("43.25")


def test_unknown_stock_comes_from_tryton(server):
    with Client(server.address) as client:
        found = client.check_availability([Line("N-007", 5), Line("N-008", 5)], branches=["HAM"]).lines

    assert [line.status.value for line in found] == ["OK", "OK"]
    assert found[0].branches[0].freshness.erp.state.value == "FRESH"
    assert found[0].available == Decimal(69), "20 + 7 * 7, nothing leaves"


def test_a_return_pays_what_a_sale_pays(server):
    with Client(server.address) as client:
        sale, back = client.price_lines("C011", [Line("N-000", 4), Line("N-000", -4)], timeout_s=20).lines

    assert (sale.unit_price, sale.extended_price) == (Decimal(5), Decimal(20))
    assert (back.unit_price, back.extended_price) == (Decimal(5), Decimal(-20))


def test_what_tryton_is_asked_is_counted(server):
    with Client(server.address) as client:
        client.price_lines("C011", [Line("N-000", 9)], timeout_s=20)
    url = f"http://127.0.0.1:{server.ready['metrics_port']}/metrics"

    def shown() -> dict[str, str]:
        page = urllib.request.urlopen(url, timeout=10).read().decode()
        return dict(line.rsplit(" ", 1) for line in page.splitlines() if line.startswith("pricegrid_erp"))

    for name in ('pricegrid_erp_lines_total{result="ERP"}', 'pricegrid_erp_calls_total{outcome="OK"}'):
        until(lambda name=name: float(shown().get(name, 0)) >= 1, name)
    metrics = shown()
    assert float(metrics["pricegrid_erp_breaker_open"]) == 0


def test_two_tryton_configurations_side_by_side_agree(tryton, store, tmp_path, capsys):
    lines = tmp_path / "lines.csv"
    lines.write_text("customer_id,sku,quantity\nC002,N-012,1\nC002,N-011,50\nC005,N-031,1\nC014,N-003,12\n")
    config, other = str(tryton.config(CONFIG)), tmp_path / "new.toml"
    other.write_text(
        Path(config).read_text().replace('adapter = "tryton"', 'adapter = "tryton"\nname = "new"', 1)
    )
    capsys.readouterr()
    words = ["parity", "--store", str(store), "--erp-config", config, "--other-erp-config", str(other)]

    assert main([*words, "--lines", str(lines)]) == 0
    assert "tryton against new: 4 EQUAL" in capsys.readouterr().out


def test_parity_finds_the_changed_prices_and_explains_them(tryton, store, tmp_path, capsys):
    change(tryton, "N-010", "1.25")
    lines = tmp_path / "lines.csv"
    lines.write_text("customer_id,sku,quantity\nC002,N-010,48\nC002,N-010,1\nC001,N-005,12\n")
    capsys.readouterr()
    words = [
        "parity",
        "--store",
        str(store),
        "--erp-config",
        str(tryton.config(CONFIG)),
        "--lines",
        str(lines),
        "--json",
    ]

    assert main(words) == 1
    rows = json.loads(capsys.readouterr().out)
    books = {row["book_id"]: (row["checked"], row["mismatched"]) for row in rows if "checked" in row}
    (wrong,) = [row for row in rows if "ours" in row]
    assert books == {"PL-2": (1, 0), "PL-3": (2, 1)}
    assert (wrong["sku"], wrong["quantity"], wrong["erp"]) == ("N-010", "48", "1.25")
    assert wrong["steps"], "how our price came about"


def test_an_exception_stays_one_when_tryton_is_stopped(store, tmp_path_factory):
    with (
        running_tryton(tmp_path_factory.mktemp("stopped")) as mine,
        running(store, "--workers", "1", "--erp-config", str(mine.config(CONFIG))) as other,
        Client(other.address) as client,
    ):
        (known,) = client.price_lines("C011", [Line("N-000", 17)], timeout_s=20).lines
        mine.process.kill()
        mine.process.wait()
        (gone,) = client.price_lines("C011", [Line("N-000", 19)], timeout_s=20).lines
        (still,) = client.price_lines("C011", [Line("N-000", 17)], timeout_s=20).lines

    assert known.source is PriceSource.ERP
    assert (gone.status, gone.exception) == (LineStatus.ERP_UNAVAILABLE, ExceptionReason.PRICE_SOURCE_ERP)
    assert (still.source, still.unit_price) == (PriceSource.ERP_CACHED, known.unit_price)
