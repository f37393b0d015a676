"""The configurable HTTP/JSON adapter, with the shipped mappings of two ERPs, against a real server."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from time import monotonic

import pytest

from pricegrid.erp.adapters import check_config, make_adapter
from pricegrid.erp.protocol import (
    ErpAnswerError,
    ErpConfigError,
    ErpError,
    ErpUnavailableError,
    LineFailure,
    PriceReply,
    Refusal,
    StockQuestion,
    StockReply,
    UnauthorisedError,
)
from pricegrid.erp.settings import read_settings
from pricegrid.pricing_engine.model import MICROS, PriceQuestion
from pricegrid.service.cli.main import main
from pricegrid.service.clock import us_of
from tests.json_server import Reply, Request, json_server

EXAMPLES = Path(__file__).parent.parent / "examples" / "erp"
NOON_US = us_of(datetime(2026, 3, 2, 12, tzinfo=UTC))
PLAIN = """
adapter = "http_json"
[http_json]
base_url = "{url}"
{top}
[http_json.prices]
path = "/prices?$filter=item in ({{skus|odata_list}}) and customer eq {{customer_id|odata}}&qty={{quantity}}"
rows = "value"
[http_json.prices.fields]
sku = "item"
unit_price = "price"
{rest}
"""


def question(
    sku: str = "A", customer: str = "C1", quantity: str = "2", uom: str = "EA", currency: str = "EUR"
):
    return PriceQuestion(customer, sku, int(Decimal(quantity) * MICROS), NOON_US, uom, currency)


def written(folder: Path, text: str) -> Path:
    path = folder / "erp.toml"
    path.write_text(text, encoding="utf-8")
    return path


def ask(config: Path, questions, what: str = "prices"):
    """The replies in the order of the questions, and how the calls were batched."""

    async def run():
        adapter = make_adapter(read_settings(config))
        batches = getattr(adapter, "price_batches" if what == "prices" else "stock_batches")(questions)
        found = [None] * len(questions)
        try:
            for places in batches:
                replies = await getattr(adapter, what)([questions[at] for at in places], monotonic() + 10)
                for place, reply in zip(places, replies, strict=True):
                    found[place] = reply
        finally:
            await adapter.close()
        return found, batches

    return asyncio.run(run())


def mapping(folder: Path, name: str, url: str, host: str) -> Path:
    text = (EXAMPLES / f"{name}.toml").read_text(encoding="utf-8")
    assert host in text
    return written(folder, text.replace(host, url))


# SAP Business One


class ServiceLayer:
    """Answers like the Service Layer, to a session only; the test ends sessions."""

    def __init__(self) -> None:
        self.session = ""
        self.logins = 0
        self.busy = 0
        """Logins without an answer."""

    def __call__(self, request: Request) -> Reply:
        if request.path == "/b1s/v2/Login" and self.busy:
            self.busy -= 1
            return Reply({}, 503)
        if request.path == "/b1s/v2/Login":
            assert request.body == {"CompanyDB": "SBODEMODE", "UserName": "pricegrid", "Password": "secret"}
            self.logins += 1
            self.session = f"s{self.logins}"
            return Reply(
                {"SessionId": self.session}, headers={"Set-Cookie": f"B1SESSION={self.session}; HttpOnly"}
            )
        if f"B1SESSION={self.session}" not in request.headers.get("Cookie", "") or not self.session:
            return Reply({"error": {"message": "Invalid session"}}, 401)
        if request.path == "/b1s/v2/CompanyService_GetItemPrice":
            asked = request.body["ItemPriceParams"]
            price = {1: "12.5", 2: "140.25"}[asked["UoMEntry"]]
            if asked["UoMQuantity"] >= 10:
                price = "11.125"
            return Reply(f'{{"Price": {price}, "Currency": "{asked["Currency"]}", "Discount": 0.0}}')
        if request.path.startswith("/b1s/v2/Items('O''Neill')"):
            rows = [
                {
                    "WarehouseCode": "01",
                    "InStock": 10.5,
                    "Committed": 4.0,
                    "Ordered": 7,
                    "ItemCode": "O'Neill",
                },
                {"WarehouseCode": "02", "InStock": 3, "Committed": 5, "Ordered": 0, "ItemCode": "O'Neill"},
            ]
            return Reply({"ItemCode": "O'Neill", "ItemWarehouseInfoCollection": rows})
        if request.path.startswith("/b1s/v2/Items?"):
            if "skip=1" in request.path:
                return Reply({"value": [{"ItemCode": "B", "ItemName": None, "InventoryUOM": "EA"}]})
            first = {"ItemCode": "A", "ItemName": "Bolt", "InventoryUOM": "EA"}
            return Reply({"value": [first], "@odata.nextLink": "Items?$skip=1"})
        if request.path.startswith("/b1s/v2/BusinessPartners"):
            return Reply({"value": [{"CardCode": "C1", "CardName": "One", "Currency": "EUR"}]})
        if request.path.startswith("/b1s/v2/Warehouses"):
            return Reply({"value": [{"WarehouseCode": "01"}]})
        return Reply({"value": []})


@pytest.fixture
def sap(tmp_path, monkeypatch):
    monkeypatch.setenv("SAP_PASSWORD", "secret")
    answer = ServiceLayer()
    with json_server(answer) as server:
        yield (
            answer,
            server,
            mapping(tmp_path, "sap-business-one", server.url, "https://sap.example.com:50000"),
        )


def test_sap_prices_are_asked_one_by_one_in_the_units_of_the_mapping(sap):
    _, server, config = sap

    replies, _ = ask(
        config, [question(), question(uom="BOX"), question(quantity="12.5"), question(uom="PALLET")]
    )

    assert replies[:3] == [
        PriceReply(None, None, None, "EUR", Decimal("12.5")),
        PriceReply(None, None, None, "EUR", Decimal("140.25")),
        PriceReply(None, None, None, "EUR", Decimal("11.125")),
    ]
    assert isinstance(replies[3], LineFailure)
    assert replies[3].reason is Refusal.UNIT
    asked = [request.body for request in server.requests if request.path.endswith("GetItemPrice")]
    assert asked[2] == {
        "ItemPriceParams": {
            "CardCode": "C1",
            "ItemCode": "A",
            "Date": "2026-03-02",
            "UoMEntry": 1,
            "UoMQuantity": Decimal("12.5"),
            "Currency": "EUR",
        }
    }


def test_a_session_that_has_ended_is_opened_again(sap):
    answer, _, config = sap

    async def run() -> list:
        adapter = make_adapter(read_settings(config))
        first = await adapter.prices([question()], monotonic() + 10)
        answer.session = "another"
        adapter._login._login_at_s -= 60  # the last login is a minute ago
        second = await adapter.prices([question()], monotonic() + 10)
        answer.session = "another"
        with pytest.raises(ErpError, match="refused just after a login"):
            await adapter.prices([question()], monotonic() + 10)
        await adapter.close()
        return [*first, *second]

    assert len(asyncio.run(run())) == 2
    assert answer.logins == 2


def test_a_login_that_nobody_answered_keeps_no_other_out(sap):
    answer, _, config = sap
    answer.busy = 1

    async def run() -> list:
        adapter = make_adapter(read_settings(config))
        with pytest.raises(ErpUnavailableError, match="503"):
            await adapter.prices([question()], monotonic() + 10)
        found = await adapter.prices([question()], monotonic() + 10)
        await adapter.close()
        return found

    assert asyncio.run(run())[0].unit_price == Decimal("12.5")


def test_sap_stock_is_what_is_there_less_what_is_committed(sap):
    _, _, config = sap
    questions = [StockQuestion("O'Neill", branch, NOON_US) for branch in ("01", "02")]

    replies, _ = ask(config, questions, "stock")

    assert replies == [
        StockReply("O'Neill", "01", Decimal("10.5"), Decimal("6.5")),
        StockReply("O'Neill", "02", Decimal(3), Decimal(-2)),
    ]


def test_an_extract_over_pages_becomes_a_snapshot(sap, tmp_path, capsys):
    _, _, config = sap
    dataset = tmp_path / "dataset"
    words = ["load", str(dataset), "--store", str(tmp_path / "store"), "--from", "http_json"]

    assert main([*words, "--erp-config", str(config)]) == 0

    assert (dataset / "items.csv").read_text() == (
        "sku,description,base_uom,price_source\nA,Bolt,EA,erp\nB,,EA,erp\n"
    )
    assert (dataset / "dataset.toml").read_text() == (
        '[files]\nseparator = "comma"\nencoding = "utf-8"\ndecimal = "point"\n'
    )
    assert "published snapshot" in capsys.readouterr().out


def test_a_folder_with_other_files_is_not_written_over(sap, tmp_path, capsys):
    _, _, config = sap
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "items.csv").write_text("sku,base_uom\n")
    words = ["load", str(tmp_path / "mine"), "--store", str(tmp_path / "store"), "--from", "http_json"]

    assert main([*words, "--erp-config", str(config)]) == 2

    assert "holds files that no extract wrote" in capsys.readouterr().err


def test_tables_of_another_system_are_left_alone_night_after_night(sap, tmp_path, capsys):
    _, _, config = sap
    dataset, owners = tmp_path / "dataset", tmp_path / "owners.toml"
    dataset.mkdir()
    owners.write_text('[owners]\ncustomers = "old"\n')
    (dataset / "customers.csv").write_text("customer_id,currency\nOLD1,EUR\n")
    words = ["load", str(dataset), "--store", str(tmp_path / "store"), "--from", "http_json"]

    for _ in range(2):
        assert main([*words, "--erp-config", str(config), "--mastering", str(owners), "--force"]) == 0
        assert (dataset / "customers.csv").read_text() == "customer_id,currency\nOLD1,EUR\n"
        assert (dataset / "items.csv").exists()
        report = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert ["customers", "1", "1", "0", "0"] in report, "theirs is loaded"
    (dataset / "customers.csv").unlink()
    (dataset / ".extracted-by-pricegrid").unlink()
    assert main([*words, "--erp-config", str(config), "--mastering", str(owners)]) == 2
    assert "holds files that no extract wrote" in capsys.readouterr().err


# Acumatica


def acumatica(request: Request) -> Reply:
    if request.path == "/entity/auth/login":
        return Reply("", 204, {"Set-Cookie": "ASP.NET_SessionId=x; path=/"})
    if "ASP.NET_SessionId" not in request.headers.get("Cookie", ""):
        return Reply({}, 401)
    if "SalesPricesInquiry" in request.path:
        asked = {name: field["value"] for name, field in request.body.items()}
        if asked["InventoryID"] == "NONE":
            return Reply({"SalesPriceDetails": []})
        rows = [
            ("0", "10.0000", {}, {}),
            ("10", "9.5000", {"value": "2026-01-01T00:00:00+00:00"}, {"value": "2026-03-31T00:00:00+00:00"}),
            ("100", "8.2500", {"value": "2026-06-01T00:00:00+00:00"}, {}),
        ]
        details = [
            {
                "InventoryID": {"value": asked["InventoryID"] + " "},
                "PriceCode": {"value": asked["PriceCode"]},
                "UOM": {"value": "EA"},
                "CurrencyID": {"value": "USD"},
                "BreakQty": {"value": Decimal(least)},
                "Price": {"value": price},
                "EffectiveDate": since,
                "ExpirationDate": until,
            }
            for least, price, since, until in rows
        ]
        for row in details:
            row["BreakQty"]["value"] = int(row["BreakQty"]["value"])
        return Reply({"SalesPriceDetails": details})
    asked = {name: field["value"] for name, field in request.body.items()}
    return Reply(
        {
            "InventoryID": {"value": asked["InventoryID"]},
            "WarehouseID": {"value": asked["WarehouseID"]},
            "OnHand": {"value": 12.25},
            "Available": {"value": 7},
        }
    )


def test_acumatica_rows_are_chosen_by_break_and_date(tmp_path, monkeypatch):
    monkeypatch.setenv("ACUMATICA_PASSWORD", "secret")
    with json_server(acumatica) as server:
        config = mapping(tmp_path, "acumatica", server.url, "https://acumatica.example.com")

        asked = [question(quantity=quantity, currency="USD") for quantity in ("1", "10", "500")]
        replies, _ = ask(config, [*asked, question("NONE", currency="USD")])
        stock, _ = ask(config, [StockQuestion("A", "MAIN", NOON_US)], "stock")

    assert [reply.unit_price for reply in replies] == [Decimal(10), Decimal("9.5"), Decimal("9.5"), None]
    assert replies[0] == PriceReply("A", "C1", "EA", "USD", Decimal(10))
    assert replies[1].valid_until_us == us_of(datetime(2026, 3, 31, tzinfo=UTC))
    assert stock == [StockReply("A", "MAIN", Decimal("12.25"), Decimal(7))]


# what any mapping may do


def prices_of(request: Request) -> Reply:
    return Reply({"value": [{"item": sku, "price": f"{n}.25"} for n, sku in enumerate(("A", "O'B", "C"))]})


def test_questions_go_together_that_share_what_a_call_says_once(tmp_path):
    with json_server(prices_of) as server:
        config = written(tmp_path, PLAIN.format(url=server.url, top="batch_lines_max = 2", rest=""))

        asked = [
            question("A"),
            question("O'B"),
            question("C"),
            question("A", "C2"),
            question("A", quantity="3"),
        ]
        replies, batches = ask(config, asked)

    assert batches == [[0, 1], [2], [3], [4]]
    assert [reply.unit_price for reply in replies] == [
        Decimal(p) for p in ("0.25", "1.25", "2.25", "0.25", "0.25")
    ]
    assert server.requests[0].path == "/prices?$filter=item in ('A','O''B') and customer eq 'C1'&qty=2"


def test_a_name_cannot_leave_its_place_in_the_url(tmp_path):
    with json_server(prices_of) as server:
        config = written(tmp_path, PLAIN.format(url=server.url, top="", rest=""))
        ask(config, [question("A", "C1' or '1' eq '1&qty=99#/../x")])

    assert server.requests[0].path.startswith(
        "/prices?$filter=item in ('A') and customer eq 'C1'' or ''1'' eq ''1&"
    )
    assert server.requests[0].path.endswith("'&qty=2")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply({}, 401), UnauthorisedError),
        (Reply({"value": "none"}), ErpAnswerError),
        (Reply([1, 2]), ErpAnswerError),
        (Reply("{" * 100_000), ErpAnswerError),
    ],
)
def test_an_answer_as_a_whole_may_be_unusable(tmp_path, reply, error):
    with json_server(lambda _: reply) as server, pytest.raises(error):
        ask(written(tmp_path, PLAIN.format(url=server.url, top="", rest="")), [question()])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"item": "A"}, Refusal.SCHEMA),
        ({"item": "A", "price": "dear"}, Refusal.NOT_A_NUMBER),
        ({"item": "A", "price": True}, Refusal.NOT_A_NUMBER),
        ({"item": "A", "price": [1]}, Refusal.NOT_A_NUMBER),
    ],
)
def test_one_line_may_be_unreadable(tmp_path, row, reason):
    with json_server(lambda _: Reply({"value": [row]})) as server:
        replies, _ = ask(written(tmp_path, PLAIN.format(url=server.url, top="", rest="")), [question()])

    assert isinstance(replies[0], LineFailure)
    assert replies[0].reason is reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("http_json.prices]", "http_json.prices]\nmethod = 'DELETE'"),
            "http_json.prices.method is 'DELETE'",
        ),
        (('unit_price = "price"', 'price = "price"'), "http_json.prices.fields.price is not known"),
        (('unit_price = "price"', ""), "http_json.prices.fields.unit_price is missing"),
        (("{quantity}", "{quantities}"), "http_json.prices.path has {quantities}"),
        (("odata}", "quoted}"), "has the form |quoted"),
        (('base_url = "', 'base_url = "ftp:'), "http_json.base_url must begin with http"),
        (('sku = "item"', ""), "http_json.prices.fields.sku is missing"),
        (
            ('adapter = "http_json"', 'adapter = "http_jason"'),
            "adapter is 'http_jason'; it may be tryton, http_json",
        ),
        (("batch_lines_max = 2", "batch_lines_max = 0"), "http_json.batch_lines_max is 0"),
        (("batch_lines_max = 2", "batch_lines = 2"), "http_json.batch_lines is not known"),
        (("batch_lines_max = 2", "time_zone = 'Mars'"), "http_json.time_zone: there is no time zone 'Mars'"),
        (('adapter = "http_json"', 'adapter = "http_json"\nlimit = 3'), "limit is not known"),
    ],
)
def test_a_bad_configuration_is_refused_by_field(tmp_path, change, message):
    text = PLAIN.format(url="http://127.0.0.1:1", top="batch_lines_max = 2", rest="")
    assert change[0] in text
    config = written(tmp_path, text.replace(*change))

    with pytest.raises(ErpConfigError) as caught:
        check_config(config)

    assert message in str(caught.value)
    assert str(config) in str(caught.value) or "http_json" in str(caught.value)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("[limits]\ntimeout_ms = 0", "limits.timeout_ms is 0"),
        ("[limits]\nretry_pct = 101", "limits.retry_pct is 101"),
        ("[limits]\ntimeout = 5", "limits.timeout is not known"),
        ("[validation]\nband_pct = -1", "validation.band_pct is -1"),
        ("[validation]\nunit_price_max = { EUR = -1 }", "validation.unit_price_max.EUR"),
        ("[cache]\nttl_s = 1.5", "cache.ttl_s is"),
        ("[parity]\nsample_per_million = 1000001", "parity.sample_per_million is 1000001"),
        (
            "[http_json.authentication]\nkind = 'basic'\nuser = 'u'",
            "http_json.authentication.password_env or",
        ),
        (
            "[http_json.authentication]\nkind = 'basic'\nuser = 'u'\npassword = 'x'",
            "is not allowed in this file",
        ),
        (
            "[http_json.authentication]\nkind = 'basic'\nuser = 'u'\npassword_env = 'NO_SUCH_VARIABLE'",
            "the environment variable NO_SUCH_VARIABLE is not set",
        ),
        ("[[", "erp.toml: "),
    ],
)
def test_bad_limits_and_secrets_are_refused_by_field(tmp_path, extra, message):
    text = PLAIN.format(url="http://127.0.0.1:1", top="", rest=extra)

    with pytest.raises(ErpConfigError) as caught:
        check_config(written(tmp_path, text))

    assert message in str(caught.value)


def test_serve_refuses_a_bad_configuration_before_it_starts(tmp_path, capsys):
    config = written(tmp_path, 'adapter = "tryton"\n')

    assert main(["serve", "--store", str(tmp_path), "--erp-config", str(config)]) == 2
    assert "tryton.url must be a text" in capsys.readouterr().err
