"""Commands about live state as a user types them, against a server: files of events, dead letters, reservations."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pricegrid import v1
from pricegrid.atp.model import Source
from pricegrid.service.cli.main import COMMANDS, main
from pricegrid.service.codec.feeds import decode_reset_streams
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.live.api import FeedIssue
from pricegrid.service.methods.live import live_methods
from tests.live_memory import NOW_US, MemoryLive, held_reservation
from tests.live_servers import grpc_server
from tests.supply_stores import Stores, supply

GOOD = {
    "source": "erp",
    "sequence": 1,
    "effective_time": "2026-03-02T12:00:00Z",
    "measure": "on_hand",
    "kind": "set",
    "sku": "A",
    "branch": "HAM",
    "quantity": "12.5",
}


@pytest.fixture
def live() -> MemoryLive:
    return MemoryLive(B=5_000_000)


@pytest.fixture
def address(live) -> Iterator[str]:
    with grpc_server(live_methods(live, lambda: NOW_US)) as found:
        yield found


class Asking:
    """Runs a command against the server; `code` is what it must end with."""

    def __init__(self, address: str, capsys) -> None:
        self.address, self.capsys = address, capsys

    def __call__(self, *words: str, code: int = 0) -> list[dict]:
        return json.loads(self.text(*words, "--json", code=code))

    def text(self, *words: str, code: int = 0) -> str:
        ended = main([*words, "--address", self.address])
        printed = self.capsys.readouterr()
        assert ended == code, printed.err
        return printed.out

    def refused(self, *words: str, code: int = 1) -> str:
        ended = main([*words, "--address", self.address])
        assert ended == code
        return self.capsys.readouterr().err


@pytest.fixture
def ask(address, capsys) -> Asking:
    return Asking(address, capsys)


def feed(path: Path, *lines: object) -> str:
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(texts) + b"\n")
    return str(path)


# ---- events


def test_a_file_of_events_is_published(ask, live, tmp_path):
    file = feed(tmp_path / "feed.jsonl", GOOD, b"", {**GOOD, "sequence": 2, "quantity": 7}, GOOD)

    (row,) = ask("events", "publish", file, "--batch", "1")

    assert (row["applied"], row["duplicate"], row["dead_letter"], row["unreadable"]) == (2, 1, 0, [])
    assert live.stock["A", "HAM"] == 7_000_000


def test_lines_that_are_no_events_are_dead_letters_with_their_numbers(ask, tmp_path):
    file = feed(tmp_path / "feed.jsonl", GOOD, b"sku;qty", {**GOOD, "source": "crm"}, b"\xff\xfe")

    (row,) = ask("events", "publish", file, code=1)

    assert (row["applied"], row["dead_letter"]) == (1, 3)
    assert [(bad["line"], bad["reason"]) for bad in row["unreadable"]] == [
        (2, "MALFORMED"),
        (3, "UNKNOWN_SOURCE"),
        (4, "MALFORMED"),
    ]
    letters = ask("dead-letters", "list")
    assert [letter["detail"].partition(":")[0] for letter in letters] == ["line 2", "line 3", "line 4"]
    assert [letter["payload"] for letter in letters] == ["sku;qty", {**GOOD, "source": "crm"}, r"\xff\xfe"]
    assert [letter["reason"] for letter in letters] == ["MALFORMED", "UNKNOWN_SOURCE", "MALFORMED"]


def test_what_was_published_is_told_in_words(ask, tmp_path):
    file = feed(tmp_path / "feed.jsonl", GOOD, *[b"?"] * 22)

    text = ask.text("events", "publish", file, code=1)

    assert text.startswith("1 applied, 0 known already, 0 older than what is known, 22 dead letters\n")
    assert "line 2: MALFORMED: not JSON" in text
    assert "... and 2 lines more" in text
    assert "dead-letters list" in text


def test_events_come_from_standard_input(ask, monkeypatch, tmp_path):
    feed(tmp_path / "feed.jsonl", GOOD)
    with (tmp_path / "feed.jsonl").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        (row,) = ask("events", "publish", "-")

    assert row["applied"] == 1


def test_a_date_needs_a_zone(ask, tmp_path):
    file = feed(tmp_path / "feed.jsonl", {**GOOD, "expected_at": "2026-03-07"})

    (without,) = ask("events", "publish", file, code=1)
    (within,) = ask("events", "publish", file, "--time-zone", "Europe/Berlin")

    assert "without a time zone" in without["unreadable"][0]["detail"]
    assert within["applied"] == 1


def test_a_publish_that_is_refused_ends_with_its_reason(ask, live, tmp_path):
    def refuse(_: str) -> None:
        raise RequestRefusedError(Reason.LIVE_STATE_UNAVAILABLE, "the disk is full")

    live.before = refuse
    file = feed(tmp_path / "feed.jsonl", GOOD)

    assert "LIVE_STATE_UNAVAILABLE: the disk is full (correlation id" in ask.refused(
        "events", "publish", file
    )


# ---- dead letters


@pytest.fixture
def letters(ask, tmp_path) -> list[str]:
    ask("events", "publish", feed(tmp_path / "bad.jsonl", {}, b"?", b"!"), code=1)
    return [letter["dead_letter_id"] for letter in ask("dead-letters", "list")]


def test_dead_letters_are_shown(ask, letters):
    (row,) = ask("dead-letters", "show", letters[1])
    assert (row["dead_letter_id"], row["payload"], row["origin"], row["replays"]) == (
        letters[1],
        "?",
        "events",
        0,
    )

    text = ask.text("dead-letters", "show", letters[0])
    assert "line 1: source is missing" in text
    table = ask.text("dead-letters", "list", "--limit", "2")
    assert [line.split()[0] for line in table.splitlines()] == ["ID", *letters[:2]]
    assert ask.text("dead-letters", "list", "--origin", "erp") == "no dead letters\n"


def test_dead_letters_are_replayed_and_dropped(ask, letters):
    left = ask("dead-letters", "replay", "--all", code=1)
    assert [(row["dead_letter_id"], row["replays"]) for row in left] == [(name, 1) for name in letters[1:]]

    assert ask("dead-letters", "drop", letters[1]) == [{"dropped": 1}]
    assert ask("dead-letters", "drop", letters[1], letters[2], code=1) == [{"dropped": 1}]
    assert ask.text("dead-letters", "drop", "--all") == "0 dropped\n"
    assert ask.text("dead-letters", "replay", "--all") == "0 replayed, 0 still can't be applied\n"


def test_a_dead_letter_that_is_not_there_is_told(ask):
    assert "DEAD_LETTER_NOT_FOUND" in ask.refused("dead-letters", "show", "nope")


# ---- reservations


def test_stock_is_reserved_confirmed_listed_and_released(ask):
    words = ["--customer", "C1", "--branch", "HAM", "--key", "cart", "--ttl", "2h", "A:2.5:EA", "B:1"]

    (held,) = ask("reserve", *words)
    (again,) = ask("reserve", *words)
    (confirmed,) = ask("confirm", held["reservation_id"], "--customer", "C1", "--order", "SO-1")
    listed = ask("reservations", "--unreported", "30")
    (part,) = ask("release", held["reservation_id"], "--customer", "C1", "--line", "1:0.5")
    (gone,) = ask("release", held["reservation_id"], "--customer", "C1")

    assert held == again
    assert (held["status"], held["customer"], held["key"]) == ("HELD", "C1", "cart")
    assert [(line["sku"], line["uom"], line["held"]) for line in held["lines"]] == [
        ("A", "EA", "2.5"),
        ("B", None, "1"),
    ]
    assert held["expires_at"] == "2026-01-01T02:00:05Z"
    assert (confirmed["status"], confirmed["order_ref"], confirmed["expires_at"]) == (
        "CONFIRMED",
        "SO-1",
        None,
    )
    assert listed == [confirmed]
    assert part["lines"][0]["held"] == "2"
    assert (gone["status"], gone["lines"][0]["held"]) == ("RELEASED", "0")


def test_a_reservation_is_replaced_extended_and_asked_for(ask, live):
    words = ["--customer", "C1", "--branch", "HAM"]
    (held,) = ask("reserve", *words, "A:1")

    ask("reserve", *words, "--replace", held["reservation_id"], "A:2")
    ask("reserve", *words, "--exclude-reservation", held["reservation_id"], "A:3")
    (longer,) = ask("extend", held["reservation_id"], "--customer", "C1", "--ttl", "3h")
    (found,) = ask("reservation", held["reservation_id"], "--customer", "C1")

    asked = [(each.replace_reservation, each.exclude_reservation) for each in live.asked]
    assert asked == [("", ""), (held["reservation_id"], ""), ("", held["reservation_id"])]
    assert longer["expires_at"] == "2026-01-01T03:00:05Z"
    assert found == longer


def test_what_is_not_held_ends_with_one(ask):
    (nothing,) = ask("reserve", "--branch", "HAM", "B:7", code=1)
    (some,) = ask("reserve", "--branch", "HAM", "--allow-partial", "B:7")

    assert (nothing["reservation_id"], nothing["status"], nothing["lines"][0]["shortage"]) == (
        None,
        None,
        "7",
    )
    assert (some["lines"][0]["held"], some["lines"][0]["shortage"]) == ("5", "2")
    assert nothing["key"] != some["key"]


def test_reservations_are_told_in_a_table(ask, live):
    live.held["R-7"] = held_reservation()

    header, row = ask.text("reservations").splitlines()

    assert header.split()[:3] == ["RESERVATION", "STATUS", "CUSTOMER"]
    assert row.split()[:5] == ["R-7", "CONFIRMED", "C1", "SO-1", "-"]
    assert row.endswith("4 of BOLT")
    assert ask.text("reservations", "--customer", "C9") == "no reservations\n"


def test_another_customers_reservation_is_not_there(ask):
    (held,) = ask("reserve", "--customer", "C1", "--branch", "HAM", "A:1")

    refused = ask.refused("release", held["reservation_id"], "--customer", "C2")

    assert "RESERVATION_NOT_FOUND: this customer has no such reservation" in refused


# ---- bad usage

USAGE = [
    ("no such file", ["events", "publish", "/nowhere/feed"], "/nowhere/feed"),
    ("no such zone", ["events", "publish", "-", "--time-zone", "Mars"], "Mars"),
    ("a batch of none", ["events", "publish", "-", "--batch", "0"], "1 to 5000"),
    ("no command of events", ["events"], "COMMAND"),
    ("neither one nor all", ["dead-letters", "drop"], "say --all"),
    ("one and all", ["dead-letters", "drop", "D1", "--all"], "say --all"),
    ("a limit of none", ["dead-letters", "list", "--limit", "0"], "1 to 10000"),
    ("no branch", ["reserve", "A:1"], "--branch"),
    ("no quantity", ["reserve", "--branch", "HAM", "A"], "no quantity"),
    ("no time", ["reserve", "--branch", "HAM", "--ttl", "soon", "A:1"], "90s, 15m, 2h or 3d"),
    ("a contradiction", ["reserve", "--branch", "H", "--allow-partial", "--all-or-nothing", "A:1"], "not allowed"),
    ("no order", ["confirm", "R1"], "--order"),
    ("two ways", ["reserve", "--branch", "H", "--replace", "R1", "--exclude-reservation", "R2", "A:1"], "not allowed"),
    ("no time to extend", ["extend", "R1", "--ttl", "soon"], "90s, 15m, 2h or 3d"),
    ("no line number", ["release", "R1", "--line", "0:1"], "N from 1"),
    ("no line quantity", ["release", "R1", "--line", "1:x"], "'x' is not a decimal"),
    ("no minutes", ["reservations", "--unreported", "-1"], "--unreported"),
    ("a watch of the past", ["availability", "--watch", "--as-of", "2026-01-01", "A"], "without --as-of"),
    ("a time without a watch", ["availability", "--for", "3", "A"], "go with --watch"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), [row[1:] for row in USAGE], ids=[row[0] for row in USAGE])
def test_bad_usage_ends_with_two_and_says_why(words, said, capsys):
    where = [] if words == ["events"] else ["--address", "127.0.0.1:1"]

    assert main([*words, *where]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    ["reserve", "confirm", "release", "extend", "reservation", "reservations", "events", "dead-letters"],
)
def test_each_command_has_help(name, capsys):
    assert main([name, "--help"]) == 0
    assert COMMANDS[name].summary.capitalize() in capsys.readouterr().out


def test_a_server_that_is_not_there_is_told(capsys):
    assert main(["reservations", "--address", "127.0.0.1:1"]) == 1
    assert "UNAVAILABLE" in capsys.readouterr().err


# ---- watching


def test_a_watch_prints_what_is_free_until_its_time_is_over(tmp_path_factory, capsys):
    store = Stores(tmp_path_factory)(**supply(on_hand=10))
    capsys.readouterr()
    words = [
        "availability",
        "--store",
        store,
        "--watch",
        "--for",
        "0.2",
        "--branch",
        "MAIN",
        "--branch",
        "NOPE",
    ]

    assert main([*words, "--json", "X:12"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main([*words, "X:12"]) == 0
    text = capsys.readouterr().out

    assert [(row["branch"], row["status"], row["available"], row["shortage"]) for row in rows] == [
        ("MAIN", "OK", "10", "2"),
        ("NOPE", "UNKNOWN_BRANCH", None, None),
    ]
    assert rows[0]["freshness"]["erp"] == "STALE"
    assert "X at MAIN: 10 available, 2 short (erp STALE" in text
    assert "X at NOPE: UNKNOWN_BRANCH" in text


# ---- feeds


def test_missing_events_are_named(ask, live):
    live.issues = [FeedIssue(Source.ERP, "A", "HAM", [(2, 3), (7, 7)])]

    assert "2-3, 7" in ask.text("events", "gaps", code=1)
    (issue,) = ask("events", "gaps", code=1)
    assert (issue["source"], issue["missing"]) == ("erp", [[2, 3], [7, 7]])
    assert ask("events", "restarts") == []


def test_a_source_that_begins_anew_is_named(ask, live):
    live.issues = [FeedIssue(Source.WMS, "A", "HAM", (), 3, 2, NOW_US)]

    (issue,) = ask("events", "restarts", code=1)
    assert (issue["source"], issue["restarts"], issue["restart_sequence"]) == ("wms", 3, 2)
    assert ask.text("events", "gaps") == "no gaps\n"


def test_a_source_is_reset_and_it_is_kept_who_asked(ask, live):
    named = ("--source", "erp", "--sku", "A", "--branch", "HAM", "--actor", "ann")
    (done,) = ask("events", "reset", *named, "--from", "2026-03-02T12:00:00Z")

    assert (done["actor"], done["effective_time"], done["streams"]) == ("ann", "2026-03-02T12:00:00Z", 1)
    assert ask("events", "resets") == [done]
    assert "ann" in ask.text("events", "reset", "--source", "wms", "--all", "--actor", "ann")
    assert "--all" in ask.refused("events", "reset", "--source", "erp", code=2)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"actor": ""}, "actor"),
        ({"source": 0}, "source"),
        ({"branch": ""}, "all"),
        ({"all": True}, "contradict"),
        ({"effective_us": -1}, "1970"),
    ],
)
def test_a_reset_that_makes_no_sense_is_refused(fields, what):
    request = v1.ResetStreamsRequest(**{"source": 1, "branch": "HAM", "actor": "ann", **fields})

    with pytest.raises(RequestRefusedError, match=what) as refused:
        decode_reset_streams(request.SerializeToString())
    assert refused.value.reason is Reason.INVALID_RESET
