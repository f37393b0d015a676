"""What operators do: flags and invalidations, refused answers listed and replayed, parity, dual runs, mastering."""

import json
import urllib.request
from collections import Counter
from decimal import Decimal
from pathlib import Path
from time import monotonic

import pytest

from pricegrid import Client, ExceptionReason, Line, PriceSource
from pricegrid.erp.dead_letters import DeadLetter, DeadLetterFile
from pricegrid.erp.mastering import Mastering
from pricegrid.erp.observe import NoErpMetrics
from pricegrid.erp.operator_flags import RELOAD_S, Flag, OperatorFlags
from pricegrid.erp.parity import ParityFile
from pricegrid.erp.protocol import ErpConfigError
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.cli.main import main
from pricegrid.service.rpc.in_process import store_client
from tests.erp_server import Fault, SmallErp, serving
from tests.servers import running, until
from tests.stores import publish, stocked_rows

QUIET = "[parity]\nsample_per_million = 0\n"


@pytest.fixture
def store(tmp_path) -> Path:
    path = tmp_path / "store"
    publish(path, stocked_rows())
    return path


@pytest.fixture
def small() -> SmallErp:
    erp = SmallErp()
    erp.prices = {("", f"S{n}"): "10" for n in range(20)} | {("", "X1"): "9.75", ("", "N1"): "4.125"}
    with serving(erp):
        yield erp


def run(capsys, *words: object, code: int = 0) -> str:
    capsys.readouterr()
    assert main([str(word) for word in words]) == code
    return capsys.readouterr().out


def price(client: Client, sku: str, customer: str = "C1", quantity: int = 1):
    return client.price_lines(customer, [Line(sku, quantity)], timeout_s=10).lines[0]


@pytest.mark.parametrize("flag", [("sku", "S4"), ("customer", "C1"), ("book", "LIST")])
def test_a_flag_makes_exceptions_while_it_stands(store, small, tmp_path, capsys, flag):
    small.prices["", "S4"] = "9.5"
    with store_client(store, ExceptionPolicy(), erp_config=small.config(tmp_path, QUIET)) as client:
        before = price(client, "S4")
        run(capsys, "erp", "flag", *flag, "--store", store, "--reason", "rebate talks")
        until(lambda: price(client, "S4").source is not PriceSource.MATRIX, "the flag is seen")
        flagged = price(client, "S4")
        listed = json.loads(run(capsys, "erp", "flags", "--store", store, "--json"))
        run(capsys, "erp", "unflag", *flag, "--store", store)
        until(lambda: price(client, "S4").source is PriceSource.MATRIX, "the flag is gone")

    assert (before.unit_price, flagged.unit_price) == (Decimal(10), Decimal("9.5"))
    assert [(each["kind"], each["name"], each["reason"]) for each in listed] == [(*flag, "rebate talks")]
    run(capsys, "erp", "unflag", *flag, "--store", store, code=1)


def test_dead_letters_are_listed_shown_and_replayed_into_success(store, small, tmp_path, capsys):
    config = small.config(tmp_path, QUIET)
    small.fault = Fault.WRONG_CURRENCY
    with store_client(store, ExceptionPolicy(), erp_config=config) as client:
        refused = price(client, "X1", quantity=2)
        until(lambda: len(DeadLetterFile(store).letters()) == 1, "a dead letter")
    (listed,) = json.loads(run(capsys, "dead-letters", "list", "--store", store, "--json"))
    name = listed["dead_letter_id"]
    shown = json.loads(run(capsys, "dead-letters", "show", "--store", store, "--json", name))
    again = ["dead-letters", "replay", "--store", store, "--erp-config", config]
    still = run(capsys, *again, name, code=1)
    (counted,) = DeadLetterFile(store).letters()
    small.fault = Fault.NONE
    replayed = run(capsys, *again, "--all")

    assert refused.exception is ExceptionReason.PRICE_SOURCE_ERP
    assert (listed["reason"], listed["origin"], shown) == ("CURRENCY", "erp", [listed])
    assert listed["payload"]["question"]["sku"] == "X1"
    assert "XAU" in listed["payload"]["answer"]
    assert "refused again, or no answer" in still
    assert (counted.times, counted.replays) == (2, 1)
    assert "1 replayed, 0 still" in replayed
    assert DeadLetterFile(store).letters() == []


def test_a_replay_goes_by_what_the_matrices_say_now_and_servers_use_its_answer(
    store, small, tmp_path, capsys
):
    config = small.config(tmp_path, QUIET)
    small.prices["", "X1"] = "30"  # the matrices say 10, and are wrong
    with store_client(store, ExceptionPolicy(), erp_config=config) as client:
        price(client, "X1")
        until(lambda: len(DeadLetterFile(store).letters()) == 1, "a dead letter")
    words = ["dead-letters", "replay", "--all", "--store", store, "--erp-config", config]
    assert "refused" in run(capsys, *words, code=1)
    rows = stocked_rows()
    next(entry for entry in rows["price_entries"] if entry["sku"] == "X1")["value"] = "28"
    publish(store, rows, minute=1)

    assert "1 replayed" in run(capsys, *words)
    assert DeadLetterFile(store).letters() == []
    with store_client(store, ExceptionPolicy(), erp_config=config) as client:
        replayed = price(client, "X1")
    assert (replayed.source, replayed.unit_price) == (PriceSource.ERP_CACHED, Decimal(30))


def test_a_replay_does_not_take_a_void_answer_for_a_new_one(store, small, tmp_path, capsys):
    config = small.config(tmp_path, QUIET)
    with store_client(store, ExceptionPolicy(), erp_config=config) as client:
        price(client, "X1")
        small.fault = Fault.NEGATIVE
        run(capsys, "erp", "invalidate", "--store", store)
        until(lambda: price(client, "X1").source is PriceSource.MATRIX, "what was kept is void")
        until(lambda: len(DeadLetterFile(store).letters()) == 1, "a dead letter")

    words = ["dead-letters", "replay", "--all", "--store", store, "--erp-config", config]
    assert "refused" in run(capsys, *words, code=1)


def test_a_replay_leaves_the_letters_of_another_erp(store, small, tmp_path, capsys):
    letters = DeadLetterFile(store)
    question = {"sku": "X1", "customer_id": "C1", "quantity": "1", "uom": "EA", "currency": "EUR"}
    letters(DeadLetter("SIGN", "-1", {"kind": "price", "erp": "old", "question": question}, 5))
    letters(DeadLetter("SIGN", "-1", {"kind": "price", "erp": "small", "question": {"sku": "X1"}}, 6))

    words = ["dead-letters", "replay", "--all", "--store", store, "--json"]
    no_erp = [each["detail"] for each in json.loads(run(capsys, *words, code=1))]
    config = ["--erp-config", small.config(tmp_path)]
    left = json.loads(run(capsys, *words, *config, code=1))

    assert no_erp == ["no ERP is configured here, so it can't be asked again"] * 2
    assert [each["detail"] for each in left] == [
        "it is of another ERP, old",
        "the payload is not a question to an ERP: KeyError('customer_id')",
    ]
    assert [each["replays"] for each in left] == [2, 2]
    assert len(letters.letters()) == 2
    assert small.calls == []


def test_a_dead_letter_can_be_dropped(store, capsys):
    letters = DeadLetterFile(store)
    letters(DeadLetter("SIGN", "-1", {"kind": "price", "question": {"sku": "A"}}, 5))
    letters(DeadLetter("SIGN", "-2", {"kind": "price", "question": {"sku": "A"}}, 7))
    (kept,) = letters.letters()

    assert (kept.first_us, kept.last_us, kept.times, kept.message) == (5, 7, 2, "-2")
    run(capsys, "dead-letters", "drop", "--store", store, f"E{kept.letter_id}")
    run(capsys, "dead-letters", "drop", "--store", store, f"E{kept.letter_id}", code=1)
    assert letters.letters() == []


def test_check_says_whether_the_erp_answers(small, tmp_path, capsys):
    config = small.config(tmp_path)

    assert "small answers" in run(capsys, "erp", "check", "--erp-config", config)
    small.fault = Fault.ERRORS
    assert "HTTP 500" in run(capsys, "erp", "check", "--erp-config", config, code=1)


def test_an_invalidation_voids_only_what_it_names(store):
    flags = OperatorFlags(store, clock=iter(range(1000)).__next__)
    flags.invalidate("C1", "S1", 50)

    state = flags.state()
    assert state.is_invalidated("C1", "S1", 50)
    assert not state.is_invalidated("C1", "S1", 51)
    assert not state.is_invalidated("C2", "S1", 50)
    assert not state.is_invalidated("C1", "S2", 50)
    flags.invalidate("", "", 60)
    assert flags.state().is_invalidated("C2", "S9", 60)


@pytest.mark.parametrize("text", ["{", "[]", '{"flags": [{"kind": "sku"}], "invalidations": []}'])
def test_a_control_file_that_can_not_be_read_leaves_what_held_and_prices_are_answered(
    store, small, tmp_path, text
):
    small.prices["", "S4"] = "9.5"
    with store_client(store, ExceptionPolicy(), erp_config=small.config(tmp_path, QUIET)) as client:
        OperatorFlags(store).flag(Flag("sku", "S4", 1))
        until(lambda: price(client, "S4").source is not PriceSource.MATRIX, "the flag is seen")
        flags = OperatorFlags(store, clock=iter(range(1000)).__next__)
        assert flags.state().flagged("sku", "") == {"S4"}
        (store / "erp-control.json").write_text(text)

        assert flags.state().flagged("sku", "") == {"S4"}
        assert flags.state().flagged("sku", "") == {"S4"}
        began_s = monotonic()
        while monotonic() - began_s < 2 * RELOAD_S:  # the server looks at it meanwhile
            assert price(client, "S4").source is not PriceSource.MATRIX


def test_a_flag_of_a_snapshot_ends_with_it(store):
    flags = OperatorFlags(store)
    flags.flag(Flag("book", "LIST", 1, "", "v1"))

    assert flags.state().flagged("book", "v1") == {"LIST"}
    assert flags.state().flagged("book", "v2") == frozenset()


LINES = "customer_id,sku,quantity\n" + "".join(f"C1,S{n},2\n" for n in (4, 5, 6, 7)) + "C1,S3,1\n"


def test_parity_counts_by_book_explains_and_marks_the_book(store, small, tmp_path, capsys):
    small.prices["", "S5"] = "10.01"
    limits = "[parity]\nsample_per_million = 0\nmismatch_pct_max = 15\nchecks_min = 5\n"
    config = small.config(tmp_path, limits)
    (tmp_path / "lines.csv").write_text(LINES)
    words = ["parity", "--store", store, "--erp-config", config, "--lines", tmp_path / "lines.csv", "--json"]

    rows = json.loads(run(capsys, *words, code=1))
    recorded = json.loads(run(capsys, "parity", "--store", store, "--json", code=1))
    printed = run(capsys, "parity", "--store", store, code=1)

    assert rows == recorded
    books = {row["book_id"]: row for row in rows if "checked" in row}
    assert {name: (row["checked"], row["mismatched"]) for name, row in books.items()} == {"LIST": (5, 1)}
    (wrong,) = [row for row in rows if "ours" in row]
    assert (wrong["sku"], wrong["ours"], wrong["erp"], wrong["book_id"]) == ("S5", "10", "10.01", "LIST")
    assert wrong["steps"]
    assert books["LIST"]["flagged"] is True
    assert "C1 S5:2:EA in EUR: ours 10, the ERP's 10.01" in printed
    with store_client(store, ExceptionPolicy(), erp_config=config) as client:
        assert price(client, "S5").source is PriceSource.ERP, "the book's prices are exceptions now"


def test_lines_that_the_erp_did_not_answer_are_named_and_not_taken_for_equal(store, small, tmp_path, capsys):
    small.fault = Fault.ERRORS
    config = small.config(tmp_path, "[parity]\nsample_per_million = 0\n")
    (tmp_path / "lines.csv").write_text(LINES)
    words = ["parity", "--store", store, "--erp-config", config, "--lines", tmp_path / "lines.csv", "--json"]

    assert main([str(word) for word in words]) == 1
    printed = capsys.readouterr()

    assert json.loads(printed.out) == []
    assert "no usable answer for 5 of 5 lines, which are not compared: C1 S4:" in printed.err


class Compared(NoErpMetrics):
    """Counts comparisons by book and outcome."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, bool]] = Counter()

    def compared(self, book_id: str, *, equal: bool) -> None:
        self._counts[book_id, equal] += 1

    def compared_of(self, book_id: str) -> dict[bool, int]:
        return {equal: self._counts[book_id, equal] for equal in (True, False)}


def test_a_server_samples_ordinary_prices_in_the_background(store, small, tmp_path):
    small.prices["", "S5"] = "10.01"
    parity = (
        "[parity]\nsample_per_million = 1000000\nchecks_per_s = 1000\nmismatch_pct_max = 10\nchecks_min = 2\n"
    )
    config = small.config(tmp_path, parity)
    from pricegrid.erp.settings import read_settings
    from pricegrid.service.clock import now_us
    from pricegrid.service.erp_overlay.fallback import open_erp
    from pricegrid.service.process.bootstrap import load_snapshot, version_opener
    from pricegrid.service.process.snapshots import SnapshotHolder
    from pricegrid.service.rpc.in_process import InProcessChannel
    from pricegrid.service.rpc.services import services

    metrics = Compared()
    erp = open_erp(read_settings(config), store, now_us, metrics)
    active = load_snapshot(store, None, ExceptionPolicy())
    holder = SnapshotHolder(active, version_opener(store, ExceptionPolicy(), lambda _: False))
    client = Client(channel=InProcessChannel(services(holder, now_us, erp=erp), service_desk=False))

    def compared() -> tuple[int, int]:
        price(client, "S4"), price(client, "S5")
        books = ParityFile(store).books(active.version).values()
        return sum(book.checked for book in books), sum(book.mismatched for book in books)

    until(lambda: min(compared()) > 0, "a mismatch was found")
    from_erp = {
        PriceSource.ERP,
        PriceSource.ERP_CACHED,
    }  # cached, if the loop above has asked for a flagged line
    until(lambda: price(client, "S4").source in from_erp, "the book's prices are exceptions")
    erp.close()
    assert metrics.compared_of("LIST")[True] > 0 < metrics.compared_of("LIST")[False]
    (flag,) = OperatorFlags(store).read().flags
    assert (flag.kind, flag.name, flag.snapshot_version) == ("book", "LIST", active.version)
    (sku,) = {each.sku for each in ParityFile(store).mismatches()}
    assert sku == "S5"


@pytest.mark.slow
def test_the_mismatch_rate_of_a_book_is_a_metric(store, small, tmp_path):
    small.prices["", "S5"] = "10.01"
    config = small.config(tmp_path, "[parity]\nsample_per_million = 1000000\nchecks_per_s = 1000\n")
    with (
        running(store, "--workers", "1", "--erp-config", str(config), "--metrics-port", "0") as server,
        Client(server.address) as client,
    ):
        url = f"http://127.0.0.1:{server.ready['metrics_port']}/metrics"

        def counted() -> dict[str, float]:
            price(client, "S4"), price(client, "S5")
            page = urllib.request.urlopen(url, timeout=10).read().decode()
            lines = [line.rsplit(" ", 1) for line in page.splitlines() if line.startswith("pricegrid_parity")]
            return {name: float(value) for name, value in lines}

        mismatches, checks = (
            f'pricegrid_parity_{what}_total{{book_id="LIST"}}' for what in ("mismatches", "checks")
        )

        def shows_both() -> bool:
            found = counted()
            return 0 < found.get(mismatches, 0) < found.get(checks, 0)

        until(shows_both, "a mismatch is counted, and more checks")


def test_a_dual_run_says_where_two_erps_disagree_and_who_is_right(store, small, tmp_path, capsys):
    other = SmallErp()
    other.prices = {**small.prices, ("", "S5"): "11", ("", "N1"): "4.125"}
    del other.prices["", "S6"]
    (tmp_path / "lines.csv").write_text(LINES)
    (tmp_path / "owners.toml").write_text('default = "small"\n[owners]\nprices = "new"\n')
    (tmp_path / "new").mkdir()
    with serving(other):
        new = other.config(tmp_path / "new")
        new.write_text(new.read_text().replace('name = "small"', 'name = "new"'))
        words = [
            "parity",
            "--store",
            store,
            "--erp-config",
            small.config(tmp_path),
            "--other-erp-config",
            new,
        ]
        words += ["--lines", tmp_path / "lines.csv", "--mastering", tmp_path / "owners.toml"]
        rows = json.loads(run(capsys, *words, "--json", code=1))
        printed = run(capsys, *words, code=1)

    by_sku = {row["sku"]: row for row in rows}
    assert {sku: row["verdict"] for sku, row in by_sku.items()} == {"S5": "DIFFERENT", "S6": "UNANSWERED"}
    assert (by_sku["S5"]["small"], by_sku["S5"]["new"], by_sku["S5"]["owner"]) == ("10", "11", "new")
    assert "small against new: 1 DIFFERENT, 3 EQUAL, 1 UNANSWERED; prices are new's" in printed


def test_a_customer_whom_the_snapshot_does_not_know_is_said_not_raised(store, small, tmp_path, capsys):
    (tmp_path / "lines.csv").write_text("customer_id,sku,quantity\nC9,S4,1\n")
    config = small.config(tmp_path)
    words = ["parity", "--store", store, "--erp-config", config, "--lines", tmp_path / "lines.csv"]

    assert main([str(word) for word in words]) == 1
    assert "customer 'C9' is unknown" in capsys.readouterr().err
    (tmp_path / "lines.csv").write_text("customer_id,sku,quantity,uom,currency\nC9,S4,1,EA,EUR\n")
    printed = run(capsys, *words, "--other-erp-config", config)
    assert "1 EQUAL" in printed, "the ERPs may know them"


def test_a_mastering_table_says_whose_tables_are_extracted(tmp_path):
    path = tmp_path / "owners.toml"
    path.write_text('default = "old"\n[owners]\nprices = "new"\nexchange_rates = "old"\n')
    mastering = Mastering.read(path)

    assert [mastering.owner(table) for table in ("items", "price_entries", "exchange_rates", "prices")] == [
        "old",
        "new",
        "old",
        "new",
    ]
    assert mastering.takes("price_books", "new")
    assert not mastering.takes("price_books", "old")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[owners]\nprizes = "new"', "owners.prizes is not an entity"),
        ("[owners]\nprices = 3", "owners.prices must be the name"),
        ('owner = "new"', "owner is not known"),
        ("[", "erp-owners.toml"),
    ],
)
def test_a_bad_mastering_table_is_refused_by_field(tmp_path, text, message):
    path = tmp_path / "erp-owners.toml"
    path.write_text(text)

    with pytest.raises(ErpConfigError, match=message):
        Mastering.read(path)
