"""Asks the worked examples of the rule pages (`page_examples`): the engine and the reference must say the same."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import numpy as np

from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.model import (
    AvailabilityStatus,
    CheckAsk,
    PromiseAsk,
    PromisePolicy,
    SupplyPolicy,
)
from pricegrid.atp.rules.rows import Rows
from pricegrid.columnar.decimals import decimal_text
from pricegrid.columnar.instants import day_date
from pricegrid.loaders.compile.positions import compile_positions
from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.loaders.validate.tables import read_dataset
from pricegrid.pricing_engine.engine import PriceEngine
from pricegrid.pricing_engine.kernels.price import NO_AS_OF
from pricegrid.pricing_engine.lines import LineColumns
from pricegrid.pricing_engine.model import ExceptionPolicy, PriceData, PriceQuestion
from pricegrid.pricing_engine.rules.explain import explanation, reproduce
from pricegrid.pricing_engine.rules.mixed import mixed_breaks
from pricegrid.pricing_engine.rules.reference import resolve
from tests.atp_world import line_columns, line_promises, pair_answers, reference_check, reference_promise, us
from tests.page_examples import Asked, Example, Row, write_dataset
from tests.page_names import check_names
from tests.plain_prices import plain_data
from tests.plain_rows import plain_rows
from tests.price_tables import (
    COLUMNS,
    ask_of,
    compiled_answer,
    compiled_line,
    instant_us,
    micros,
    policy_of,
)

PRICE_TIME = "2024-06-15T12:00:00Z"
STOCK_TIME = "2026-03-02T12:00:00Z"  # a Monday


def check_prices(example: Example, folder: Path) -> None:
    """Every question about prices of an example."""
    write_dataset(folder, example.tables)
    loaded = read_dataset(folder, example.zone)
    rejected = {name: frame for name, frame in loaded.rejects.items() if frame.height}
    found = [
        (table, reason) for table, frame in sorted(rejected.items()) for reason in frame["reason"].to_list()
    ]
    refused = [asked.asked for kind, rows in example.questions if kind == "rejects" for asked in rows]
    assert [table for table, _ in found] == [row["table"] for row in refused], found
    for (_, reason), row in zip(found, refused, strict=True):
        assert row["reason"] in reason
    if refused:
        return
    rows = {name: [] for name in COLUMNS} | {
        name: [dict.fromkeys(COLUMNS[name].split(), "") | row for row in given]
        for name, given in example.tables.items()
        if name in COLUMNS
    }
    words = example.settings.get("policy", "").split()
    policy = policy_of(words) if words else ExceptionPolicy()
    engine, data = PriceEngine(compile_prices(loaded.frames), policy), plain_data(rows, example.zone)
    for kind, questions in example.questions:
        if kind == "basket":
            _check_basket(engine, data, policy, questions)
            continue
        if kind == "named":
            check_names(loaded, instant_us(PRICE_TIME), questions)
            continue
        for row in questions:
            question, at_desk = _price_question(row.asked)
            ask = ask_of(question, service_desk=at_desk)
            answer, explained = compiled_answer(engine, ask), engine.explain(ask, 0)
            plain = explanation(question, resolve(data, question, policy))
            assert explained["answer"] == answer
            if answer["unit_price"] is not None:
                unit, extended = reproduce(explained)
                assert (decimal_text(unit), decimal_text(extended)) == (
                    answer["unit_price"],
                    answer["extended_price"],
                )
            if not at_desk and plain["answer"]["status"] == "NOT_ENTITLED":
                plain["answer"]["status"] = "UNKNOWN_ITEM"
            assert plain["answer"] == answer
            _compare_price(kind, row, explained, plain)


def _check_basket(engine: PriceEngine, data: PriceData, policy: ExceptionPolicy, rows: list[Asked]) -> None:
    """One request of all rows."""
    asked = [{name: cell for name, cell in row.asked.items() if name != "line_as_of"} for row in rows]
    instants = [row.asked.get("line_as_of") for row in rows]
    questions = [
        replace(question, as_of_us=instant_us(own) if own else question.as_of_us)
        for (question, _), own in zip(map(_price_question, asked), instants, strict=True)
    ]
    columns = LineColumns(
        [each.sku.encode() for each in questions],
        np.array([each.quantity_micros for each in questions]),
        [each.uom.encode() for each in questions],
        np.array([instant_us(own) if own else NO_AS_OF for own in instants]),
    )
    head = ask_of(_price_question(asked[0])[0])
    whole = replace(head, skus=columns.skus, quantities_micros=columns.quantities_micros, uoms=columns.uoms)
    whole = replace(whole, lines=columns)
    answers = engine.price(whole)
    mixed = mixed_breaks((line, data, question) for line, question in enumerate(questions))
    for line, (row, question) in enumerate(zip(rows, questions, strict=True)):
        found = compiled_line(engine, answers, line)
        own = {key: each for key, each in mixed.items() if line in each.lines}
        resolution = resolve(data, replace(question, mixed=own), policy)
        assert explanation(question, resolution)["answer"] == found
        assert engine.explain(whole, line)["answer"] == found
        counted = [each.mixed.lines for each in answers.mixed if line in each.priced_lines]
        found["counted_lines"] = " ".join(map(str, *counted)) if counted else None
        assert {name: _text(found[name]) for name in row.expected} == row.expected, row


def _price_question(asked: Row) -> tuple[PriceQuestion, bool]:
    known = {"customer_id", "sku", "quantity", "uom", "currency", "branch", "as_of", "caller", "book_id"}
    assert set(asked) <= known, asked
    question = PriceQuestion(
        asked.get("customer_id", ""),
        asked["sku"],
        micros(asked.get("quantity", "1")),
        instant_us(asked.get("as_of") or PRICE_TIME),
        asked.get("uom", ""),
        asked.get("currency", ""),
        asked.get("branch", ""),
    )
    return question, asked.get("caller") != "storefront"


def _compare_price(kind: str, row: Asked, *explanations: Mapping[str, object]) -> None:
    for explained in explanations:
        answer = explained["answer"]
        if kind == "price":
            expected = {"status": "OK", **row.expected}
            assert {name: _text(answer[name]) for name in expected} == expected, row
        elif kind == "candidates":
            each = [c for layer in explained["layers"] for c in layer["candidates"]]
            [one] = [c for c in each if c["book_id"] == row.asked["book_id"]]
            assert {name: _text(one[name]) for name in row.expected} == row.expected, row
        else:
            assert kind == "steps", kind
            steps = " then ".join(f"{step['step']} {step['price']}" for step in explained["steps"])
            assert {"steps": steps} == row.expected, row


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


# ---- availability


def check_availability(example: Example, folder: Path) -> None:
    """Every question about availability and promises of an example, but for its story."""
    write_dataset(folder, example.tables)
    loaded = read_dataset(folder, example.zone)
    assert not any(frame.height for frame in loaded.rejects.values()), loaded.rejects
    engine = AvailabilityEngine(compile_positions(loaded.frames))
    rows = plain_rows(example.tables)
    for kind, questions in example.questions:
        if kind in {"availability", "projected"}:
            for row in questions:
                _check_pair(engine, rows, kind, row)
        else:
            assert kind.split()[0] == "promise", kind
            _check_promise(engine, rows, kind.split()[1:], questions)


def _check_pair(engine: AvailabilityEngine, rows: Rows, kind: str, row: Asked) -> None:
    asked = row.asked
    names = {"min_confidence": "min_confidence_micros", "look_ahead_days": "look_ahead_days"}
    supply = {names[name]: asked[name] for name in names if asked.get(name)}
    if "min_confidence_micros" in supply:
        supply["min_confidence_micros"] = micros(supply["min_confidence_micros"])
    if "look_ahead_days" in supply:
        supply["look_ahead_days"] = int(supply["look_ahead_days"])
    as_of = datetime.fromisoformat(asked.get("as_of") or STOCK_TIME)
    ask = CheckAsk(
        us(as_of),
        branches=[asked.get("branch", "HAM").encode()],
        supply=SupplyPolicy(**supply),
        projected=True,
        **line_columns([(asked["sku"], micros(asked.get("quantity", "1")), asked.get("uom", ""))]),
    )
    [found] = pair_answers(engine, engine.check(ask))
    assert [found] == reference_check(rows, ask)
    is_known = found.status is AvailabilityStatus.OK
    told = {
        "status": found.status.name,
        "available": decimal_text(found.available_micros) if is_known else "",
        "shortage": decimal_text(found.shortage_micros) if is_known else "",
        "dropped_receipts": str(found.dropped_receipts),
        **{name: state.name for name, state in zip(("erp", "wms", "transit"), found.freshness, strict=True)},
    }
    expected = row.expected
    if kind == "projected":
        wanted = date.fromisoformat(asked["date"])
        step = [step for step in found.projected if day_date(step.day) <= wanted][-1]
        told |= {"balance": decimal_text(step.balance_micros), "atp": decimal_text(step.atp_micros)}
    else:
        expected = {"status": "OK", **expected}
    assert {name: told[name] for name in expected} == expected, row


def _check_promise(engine: AvailabilityEngine, rows: Rows, words: list[str], lines: list[Asked]) -> None:
    options = dict(word.split("=", 1) for word in words if "=" in word)
    as_of, ship_to = options.pop("as_of", STOCK_TIME), options.pop("ship_to", "")
    branches = [each.encode() for each in options.pop("branches", "").split("+") if each]
    if "minimum_shipment" in options:
        options["minimum_shipment_micros"] = micros(options.pop("minimum_shipment"))
    days = {
        name: date.fromisoformat(options.pop(name))
        for name in ("on", "need_by", "late_until")
        if name in options
    }
    flags = {word: True for word in words if "=" not in word}
    ask = PromiseAsk(
        us(datetime.fromisoformat(as_of)),
        branches=branches,
        ship_to=ship_to.encode(),
        policy=PromisePolicy(**options, **days, **flags),
        **line_columns(
            [(r.asked["sku"], micros(r.asked["quantity"]), r.asked.get("uom", "")) for r in lines]
        ),
    )
    found = line_promises(engine, ask)
    assert found == reference_promise(rows, ask)
    for row, line in zip(lines, found, strict=True):
        parts = [
            f"{decimal_text(part.quantity_micros)}"
            + (f" of {part.sku}" if part.sku != row.asked["sku"] else "")
            + f" from {part.branch} on {day_date(part.pick_day)}"
            for part in line.parts
        ]
        told = {
            "status": line.status.name,
            "promised": " + ".join(parts),
            "shortage": decimal_text(line.shortage_micros),
            "ships": " + ".join(str(day_date(part.ship_day)) for part in line.parts),
            "arrives": " + ".join(str(day_date(part.arrival_day)) for part in line.parts),
        }
        assert {name: told[name] for name in row.expected} == row.expected, row
