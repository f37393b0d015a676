"""Published price cases, each a dataset as files: by the plain rules, the compiled engine and the command line."""

import csv
import json
from functools import cache
from pathlib import Path

import pytest

from pricegrid.columnar.decimals import decimal_text
from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.loaders.validate.tables import read_dataset
from pricegrid.pricing_engine.engine import PriceEngine
from pricegrid.pricing_engine.model import PriceData, PriceQuestion
from pricegrid.pricing_engine.rules.explain import explanation, reproduce
from pricegrid.pricing_engine.rules.reference import resolve
from pricegrid.service.cli.main import main
from tests.plain_prices import plain_data
from tests.price_tables import COLUMNS, ask_of, compiled_answer, instant_us, micros

SETS = sorted((Path(__file__).parent / "cases" / "pricing").iterdir())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


CASES = [(folder, case) for folder in SETS for case in rows_of(folder / "cases.csv")]
every_case = pytest.mark.parametrize(
    ("folder", "case"), CASES, ids=[f"{folder.name}-{case['case']}" for folder, case in CASES]
)


def zone_of(folder: Path) -> str:
    return (folder / "ZONE").read_text().strip()


@cache
def plainly(folder: Path) -> PriceData:
    """The dataset, read row by row."""
    tables = {}
    for name, columns in COLUMNS.items():
        path = folder / "dataset" / f"{name}.csv"
        given = rows_of(path) if path.exists() else []
        tables[name] = [dict.fromkeys(columns.split(), "") | row for row in given]
    return plain_data(tables, zone_of(folder))


@cache
def engine_of(folder: Path) -> PriceEngine:
    loaded = read_dataset(folder / "dataset", zone_of(folder))
    assert not loaded.rejects
    return PriceEngine(compile_prices(loaded.frames))


@pytest.fixture(scope="session")
def store_of(tmp_path_factory):
    @cache
    def loaded(folder: Path) -> str:
        store = str(tmp_path_factory.mktemp("store"))
        words = ["load", str(folder / "dataset"), "--store", store, "--time-zone", zone_of(folder), "--force"]
        assert main(words) == 0
        return store

    return loaded


def question_of(case: dict[str, str]) -> PriceQuestion:
    return PriceQuestion(
        case["customer_id"],
        case["sku"],
        micros(case["quantity"]),
        instant_us(case["as_of"]),
        case["uom"],
        case["currency"],
    )


def expected_of(case: dict[str, str]) -> tuple[str, str | None]:
    price = case["expected_unit_price"]
    return case["expected_status"], decimal_text(micros(price)) if price else None


@every_case
def test_the_plain_rules_give_the_right_price(folder, case):
    question = question_of(case)

    answer = explanation(question, resolve(plainly(folder), question))["answer"]

    assert (answer["status"], answer["unit_price"]) == expected_of(case)


@every_case
def test_the_compiled_engine_and_its_explanation_give_the_right_price(folder, case):
    engine, ask = engine_of(folder), ask_of(question_of(case))

    answer, explained = compiled_answer(engine, ask), engine.explain(ask, 0)

    assert (answer["status"], answer["unit_price"]) == expected_of(case)
    assert explained["answer"] == answer
    if answer["unit_price"] is not None:
        assert decimal_text(reproduce(explained)[0]) == answer["unit_price"]


@every_case
def test_the_command_prints_the_right_price(folder, case, store_of, capsys):
    line = f"{case['sku']}:{case['quantity']}" + (f":{case['uom']}" if case["uom"] else "")
    store = store_of(folder)
    capsys.readouterr()
    currency = ["--currency", case["currency"]] if case["currency"] else []

    main(
        [
            "quote",
            "--store",
            store,
            "--customer",
            case["customer_id"],
            "--as-of",
            case["as_of"],
            *currency,
            "--json",
            line,
        ]
    )

    (row,) = json.loads(capsys.readouterr().out)
    price = decimal_text(micros(row["unit_price"])) if row["unit_price"] else None
    assert (row["status"], price) == expected_of(case)
