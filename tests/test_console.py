"""The console: what a page shows is what the API answers, and nothing else gets in or out."""

import html
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from pricegrid import InvalidRequestError, Line
from pricegrid.service.cli.main import main
from pricegrid.service.console.app import BODY_BYTES_MAX, COOKIE, HEADERS
from pricegrid.service.console.pages import PAGES
from tests.console_world import AS_OF, EVIL, Direct, console_world

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with console_world(tmp_path_factory.mktemp("console")) as found:
        yield found


def cells(text: str, caption: str) -> list[list[str]]:
    """The rows of a table, as they are read."""
    found = re.search(rf"<caption>{re.escape(html.escape(caption))}</caption>(.*?)</table>", text, re.DOTALL)
    assert found, caption
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", found[1], re.DOTALL)
    return [
        [html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in re.findall(r"<t[hd][ >].*?</t[hd]>", row)]
        for row in rows
    ]


def test_a_price_is_the_one_that_the_api_explains(world):
    found = world.client.explain_price("C1", Line("S3", 4), as_of=NOW)

    page = world.get(f"/price?customer=C1&sku=S3&quantity=4&as_of={AS_OF}")

    assert page.status == 200
    assert found.line.unit_price is not None
    assert "<strong>1.25 EUR</strong> a unit · 5.00 EUR for 4" in page.text
    assert "<dd>deal-7</dd>" in page.text
    rows = cells(page.text, "Every book of the customer's, in the order in which they are searched")
    candidates = [each for layer in found.document["layers"] for each in layer["candidates"]]
    assert [row[0] for row in rows[1:] if len(row) > 1] == [each["book_id"] for each in candidates]
    assert ["C1", "the customer", "deal-7"] in [row[:3] for row in rows]
    assert ["LIST", "everyone", ""] in [row[:3] for row in rows]
    steps = cells(page.text, "The same steps in figures")[1:]
    assert [row[0] for row in steps] == [each["step"] for each in found.document["steps"]]
    assert [row[3] for row in steps][-2:] == ["1.25", "5"]


def test_breaks_are_found_to_the_unit(world):
    page = world.get(f"/price?customer=C1&sku={quote(EVIL)}&as_of={AS_OF}")

    rows = cells(page.text, "Unit price by quantity, in EUR")[1:]
    assert rows == [["1", "7.50", "LIST", ""], ["1,717", "7.00", "LIST", ""]]


@pytest.mark.parametrize(
    ("sku", "said"), [("S1", "It has a price from 5 on."), ("N1", "NO_PRICE"), ("nothing", "UNKNOWN_ITEM")]
)
def test_no_price_says_why(world, sku, said):
    page = world.get(f"/price?customer=C1&sku={sku}&as_of={AS_OF}")

    assert page.status == 200
    assert "<strong>No price</strong>" in page.text
    assert said in page.text


def test_a_price_over_time_changes_when_the_answers_say_so(world):
    page = world.get("/timeline?customer=C1&sku=S3&from=2026-06-01&to=2026-08-01")

    rows = cells(page.text, "The same prices in figures")[1:]
    assert [row[:2] for row in rows] == [["2026-06-01T00:00:00Z", "1.25"], ["2026-07-01T00:00:00Z", "10.00"]]


def test_availability_is_what_the_api_answers_day_by_day(world):
    found = world.client.check_availability([Line("S4", 12)], branches=["HAM"], as_of=NOW, projected=True)
    branch = found.lines[0].branches[0]

    page = world.get(f"/availability?sku=S4&quantity=12&branch=HAM&as_of={AS_OF}")

    assert "<strong>10</strong> can be promised now · 2 short of 12" in page.text
    rows = cells(page.text, "Available to promise of S4 at HAM, day by day")[1:]
    assert rows == [[str(step.date), f"{step.atp:.0f}", f"{step.balance:.0f}"] for step in branch.projected]
    assert [row[:2] for row in rows] == [["2026-03-02", "10"], ["2026-03-07", "20"]]
    events = cells(page.text, "Receipts and demands at HAM, in base units")[1:]
    assert events == [["2026-03-07", "receipt (purchase)", "S4", "PO-1", "10", "10", "counted"]]
    assert cells(page.text, "By branch, with how old each source is")[1][5].startswith("FRESH")
    assert "<title>receipt PO-1: 10 on 2026-03-07</title>" in page.text


def test_what_can_be_promised_is_less_than_the_balance_before_a_demand(world):
    page = world.get(f"/availability?sku=PANEL&branch=HAM&as_of={AS_OF}").text

    rows = cells(page, "Available to promise of PANEL at HAM, day by day")[1:]
    assert rows == [["2026-03-02", "750", "1000"], ["2026-03-09", "750", "750"]]
    events = cells(page, "Receipts and demands at HAM, in base units")[1:]
    assert events == [["2026-03-09", "demand", "PANEL", "SO-9", "250", "250", ""]]
    assert "<title>demand SO-9: 250 on 2026-03-09</title>" in page


class Wide:
    """A client of a shop with too many branches to explain each."""

    def __init__(self, client):
        self._client = client

    def check_availability(self, *args, explain=False, **settings):
        if explain:
            raise InvalidRequestError("too many", reason="TOO_MANY_PAIRS")
        return self._client.check_availability(*args, **settings)


def test_many_branches_are_shown_without_what_was_added_up(world):
    wide = replace(world, console=replace(world.console, server=Direct(Wide(world.client))))

    page = wide.get(f"/availability?sku=S4&as_of={AS_OF}")

    assert "name one to see its receipts and demands" in page.text
    assert [row[:3] for row in cells(page.text, "By branch, with how old each source is")[1:]] == [
        ["HAM", "OK", "10"],
        ["RTM", "OK", "3"],
    ]
    assert "Receipts and demands" not in page.text


def test_freshness_shows_health_and_the_age_of_each_source(world):
    page = world.get("/freshness?sku=S4")

    assert cells(page.text, "The worker that this console has reached")[1:] == [
        ["server", "SERVING"],
        ["AvailabilityService", "NOT_SERVING"],
    ]
    assert re.search(r"What answers of S4 are made of", page.text)
    assert page.text.count(">HAM</th>") == 1


def test_items_and_customers_are_found_by_any_part(world):
    page = world.get("/find?q=pan")
    assert [row[0] for row in cells(page.text, "1 found")[1:]] == ["PANEL"]
    assert 'href="/price?sku=PANEL"' in page.text
    assert [row[0] for row in cells(world.get("/find?q=jpy").text, "1 found")[1:]] == ["C2"]


def test_parity_is_what_the_command_reports(world, capsys):
    capsys.readouterr()
    assert main(["parity", "--store", str(world.console.store), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    books, differ = [row for row in told if "checked" in row], [row for row in told if "ours" in row]

    page = world.get("/parity").text

    shown = cells(page, f"Prices of snapshot {world.versions[-1]}, the book that differs most first")[1:]
    made = [row[1] for row in cells(world.get("/snapshots").text, "The newest first")[1:]]
    assert {row[0]: row[4] for row in shown} == {"LIST": made[0], "C1": made[-1], "OLD": ""}
    assert {row[0]: [*row[1:4], row[5]] for row in shown} == {
        each["book_id"]: [
            str(each["checked"]),
            str(each["mismatched"]),
            each["mismatch_pct"],
            "flagged" if each["flagged"] else "",
        ]
        for each in books
    }
    assert [row[0] for row in shown] == ["C1", "OLD", "LIST"]
    rows = cells(page, "The newest first")[1:]
    assert [[*row[:2], row[5], row[6]] for row in rows] == [
        [each["customer_id"], each["sku"], each["ours"], each["erp"] or "no price"]
        for each in reversed(differ)
    ]
    assert [row[7] for row in rows] == ["", "-0.05"]
    way = html.unescape(re.findall(r'href="(/price\?[^"]+)"', page)[-1])
    assert "<strong>1.25 EUR</strong> a unit" in world.get(way).text


def test_parity_of_a_book_or_of_a_snapshot_without_comparisons(world):
    assert [row[0] for row in cells(world.get("/parity?book=C1").text, "The newest first")[1:]] == ["C1"]
    assert "and 1 more" in world.get("/parity?limit=1").text
    assert "was compared with an ERP" in world.get(f"/parity?snapshot={world.versions[0]}").text
    assert world.get("/parity?snapshot=none").status == 400


def test_reservations_are_those_of_the_api(world):
    rows = cells(world.get("/reservations").text, "A row for each line")[1:]

    assert [(row[1], row[2], row[5], row[6], row[10]) for row in rows] == [("HELD", "C2", "BOLT", "HAM", "7")]
    assert "No reservations." in world.get("/reservations?customer=C1").text


def test_a_dead_letter_is_shown_and_replayed(world):
    (letter,) = world.client.dead_letters()
    replay = {"id": letter.dead_letter_id}

    shown = world.get(f"/dead-letters?id={letter.dead_letter_id}").text
    assert f"Replay {letter.dead_letter_id}</button>" in shown
    assert html.escape(f'"sku": "{EVIL}?"') in shown

    answer = world.post("/dead-letters/replay", replay, Origin="OWN")
    assert answer.status == 200
    assert "still can&#x27;t be applied: UNKNOWN_ITEM" in answer.text
    assert world.client.dead_letter(letter.dead_letter_id).replays == 1


def test_snapshots_are_compared_and_rejects_shown(world):
    old, new = world.versions

    page = world.get(f"/snapshots?old={old}").text

    assert f"What changed from {old} to {new}" in page
    rows = cells(page, "Price entries, the first 100")[1:]
    assert rows == [["LIST", "S4", "", "0", "changed", "net 10", "net 11"]]
    assert cells(page, "Rows by table")[1][:1] == ["price_entries"]
    rejects = cells(page, "price_entries, rows rejected: 1")
    assert rejects[0][:3] == ["line", "column", "reason"]
    assert rejects[1][2] == '"NONE" is an unknown SKU'


def test_books_are_shown_by_age(world):
    page = world.get("/snapshots").text
    made = [row[1] for row in cells(page, "The newest first")[1:]]

    assert cells(page, "Books in force, by how long they are unchanged")[1:] == [["0-1 days", "2"]]
    assert cells(page, "Unchanged for longest, 2 of them")[1:] == [["C1", made[-1]], ["LIST", made[0]]]
    assert f'The last change of a book: <time datetime="{made[0]}">' in page


def test_a_snapshot_is_activated_when_the_confirmation_names_it(world):
    old, new = world.versions
    assert f"Activate {old}</button>" in world.get(f"/snapshots?activate={old}").text
    current = world.console.store / "current"

    for wrong in (
        {"version": old},
        {"version": old, "confirmed": new},
        {"version": "../x", "confirmed": "../x"},
    ):
        assert world.post("/snapshots/activate", wrong, Origin="OWN").status in {400, 500}
        assert current.read_text().strip() == new

    for version in (old, new):
        done = world.post("/snapshots/activate", {"version": version, "confirmed": version}, Origin="OWN")
        assert f"Snapshot {version} is the active one now" in done.text
        assert current.read_text().strip() == version


# ---- what gets in, and out


@pytest.mark.parametrize(
    "path", [*(page.path for page in PAGES), "/sign-in", "/nowhere", "/style.css", "/favicon.svg", "/"]
)
def test_every_answer_carries_the_headers(world, path):
    page = world.get(path)

    assert {name: page.headers.get(name) for name in HEADERS} == dict(HEADERS)
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert "<script" not in page.text
    assert " style=" not in page.text
    assert not re.search(r" on\w+=", page.text)


def test_names_are_text_wherever_they_stand(world):
    evil = "%3Cscript%3Ealert(%27x%27)%3C/script%3E"
    pages = [
        world.get(f"/price?sku={evil}&customer=C1&as_of={AS_OF}"),
        world.get(f"/availability?sku={evil}"),
        world.get(f"/timeline?sku={evil}&customer=C1"),
        world.get(f"/timeline?sku=S1&customer=C1&from={evil}"),
        world.get(f"/find?q={evil}"),
        world.get(f"/snapshots?activate={evil}"),
        world.get(f"/{evil}"),
        world.get("/dead-letters"),
        world.get(f"/price?sku=S1&customer={evil}"),
    ]

    for page in pages:
        assert "<script" not in page.text
        assert "&lt;script&gt;" in page.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://shop.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "OWN", "Sec_Fetch_Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["/dead-letters/replay", "/snapshots/activate", "/sign-in", "/sign-out"])
def test_only_its_own_pages_change_something(world, path, headers):
    assert world.post(path, {"id": "x", "token": "x"}, **headers).status == 403


def test_it_is_reached_by_its_own_name_alone(world):
    assert world.get("/price", Host="shop.example").status == 421
    assert world.get("/price", Host="localhost:1").status == 200


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/price?quantity=2", 400, "Item: please fill this in"),
        ("/price?sku=S1&quantity=1,5", 400, "Quantity: &#x27;1,5&#x27; is not a decimal number"),
        ("/price?sku=S1&as_of=yesterday", 400, "As of: "),
        ("/price?sku=S1", 400, "CURRENCY_REQUIRED"),
        ("/price?sku=S1&customer=C9", 403, "CUSTOMER_NOT_ALLOWED"),
        ("/price?sku=S1&customer=C1&snapshot=x", 404, "UNKNOWN_SNAPSHOT"),
        (
            "/timeline?sku=S1&customer=C1&from=2026-02-01&to=2026-01-01",
            400,
            "To: 2026-01-01 is not after 2026-02-01",
        ),
        ("/timeline?sku=S1&customer=C1&to=" + AS_OF, 400, "is not a date YYYY-MM-DD"),
        ("/dead-letters?limit=0", 400, "At most: &#x27;0&#x27; is not a number from 1 to 1,000"),
        ("/dead-letters?id=x", 404, "DEAD_LETTER_NOT_FOUND"),
        (
            "/reservations?unreported=soon",
            400,
            "Not reported for: &#x27;soon&#x27; is not a number of minutes",
        ),
        ("/snapshots?old=x", 500, "x"),
        ("/nowhere", 404, "Not Found"),
    ],
)
def test_a_refusal_is_shown_in_its_own_words(world, path, status, said):
    page = world.get(path)

    assert page.status == status
    assert said in page.text
    assert "<main" in page.text


def test_a_body_is_bounded(world):
    answer = world.post("/sign-in", {"token": "x" * (BODY_BYTES_MAX + 1)}, Origin="OWN")

    assert answer.status == 413


def test_without_a_store_pages_of_it_are_not_there(world):
    alone = replace(world, console=replace(world.console, store=None))

    assert ">Find<" in world.get("/price").text
    assert ">Find<" not in alone.get("/price").text
    assert alone.get("/find").status == 404
    assert alone.post("/snapshots/activate", {}, Origin="OWN").status == 404


def test_a_token_is_kept_where_no_script_and_no_other_site_gets_it(world):
    answer = world.post("/sign-in", {"token": " aaa.bbb.ccc "}, Origin="OWN")

    assert answer.status == 303
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}=aaa.bbb.ccc;")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    for wrong in ("", "a b", "a;b", "é", "x" * 4_000):
        refused = world.post("/sign-in", {"token": wrong}, Origin="OWN")
        assert refused.status == 400
        assert "Set-Cookie" not in refused.headers
    assert "Max-Age=0" in world.post("/sign-out", {}, Origin="OWN").headers["Set-Cookie"]
