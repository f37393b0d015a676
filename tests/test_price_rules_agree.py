"""The compiled engine, the explanation and the plain reference give the same answer, whatever the dataset."""

from dataclasses import replace
from random import Random

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricegrid.columnar.decimals import decimal_text
from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.pricing_engine.engine import PriceAnswers, PriceAsk, PriceEngine
from pricegrid.pricing_engine.kernels.price import NO_AS_OF
from pricegrid.pricing_engine.lines import LineColumns
from pricegrid.pricing_engine.model import ExceptionPolicy, ExceptionReason, LineStatus, PriceQuestion
from pricegrid.pricing_engine.rules.explain import end_text, reproduce
from pricegrid.pricing_engine.rules.mixed import mixed_breaks
from pricegrid.pricing_engine.rules.reference import resolve
from pricegrid.pricing_engine.rules.resolution import Resolution
from tests.datasets import ZONES, as_frames, random_questions, random_rows
from tests.plain_prices import plain_data
from tests.profiles import LONG, examples
from tests.written import accepted

QUESTIONS = 20
POLICY = ExceptionPolicy(
    extended_price_above_micros={"EUR": 100_000_000},
    grace_us=40 * 86_400_000_000,
    flagged_customers=frozenset({"lone"}),
    flagged_skus=frozenset({"B"}),
)


def _ask(*lines: PriceQuestion) -> PriceAsk:
    """One request of questions that differ in nothing but their lines; those of another instant say theirs (P20)."""
    first = lines[0]
    own = [NO_AS_OF if line.as_of_us == first.as_of_us else line.as_of_us for line in lines]
    columns = LineColumns(
        [line.sku.encode() for line in lines],
        np.array([line.quantity_micros for line in lines]),
        [line.uom.encode() for line in lines],
        np.array(own, np.int64),
    )
    return PriceAsk.of(
        columns,
        customer_id=first.customer_id,
        currency=first.currency,
        branch=first.branch,
        as_of_us=first.as_of_us,
        service_desk=True,
    )


def _compiled(engine: PriceEngine, answers: PriceAnswers, line: int) -> dict[str, object]:
    book, layer, entry = int(answers.book[line]), int(answers.layer[line]), int(answers.entry[line])
    return {
        "status": LineStatus(answers.status[line]).name,
        "exception": ExceptionReason(answers.exception[line]).name,
        "currency": answers.currency,
        "unit_price": decimal_text(int(answers.unit_price_micros[line])) if book >= 0 else None,
        "price_per": int(answers.price_per[line]) if book >= 0 else None,
        "extended_price": decimal_text(int(answers.extended_price_micros[line])) if book >= 0 else None,
        "book_id": engine.book_id(book) if book >= 0 else None,
        "entry_id": (engine.entry_id(entry) or None) if entry >= 0 else None,
        "layer": engine.layer_name(layer) if layer >= 0 else None,
        "minimum_quantity": decimal_text(int(answers.minimum_quantity_micros[line]))
        if answers.minimum_quantity_micros[line]
        else None,
        "valid_until": end_text(int(answers.valid_until_us[line])),
        "floor_lifted": bool(answers.floor_lifted[line]),
        "converted": bool(answers.converted[line]),
    }


def _plain(resolution: Resolution) -> dict[str, object]:
    offer = resolution.offer
    return {
        "status": resolution.status.name,
        "exception": resolution.exception.name,
        "currency": resolution.currency,
        "unit_price": decimal_text(resolution.unit_price_micros) if offer else None,
        "price_per": resolution.price_per if offer else None,
        "extended_price": decimal_text(resolution.extended_price_micros) if offer else None,
        "book_id": offer.book.book_id if offer else None,
        "entry_id": offer.entry.entry_id or None if offer else None,
        "layer": resolution.layer or None,
        "minimum_quantity": decimal_text(resolution.minimum_quantity_micros)
        if resolution.minimum_quantity_micros
        else None,
        "valid_until": end_text(resolution.valid_until_us),
        "floor_lifted": offer.lifted if offer else False,
        "converted": resolution.converted,
    }


def _counted(answers: PriceAnswers, line: int) -> tuple[int, ...]:
    """The lines that are said to have counted for a line's breaks."""
    return next((each.mixed.lines for each in answers.mixed if line in each.priced_lines), ())


def _more_than_one(resolution: Resolution) -> tuple[int, ...]:
    mixed = resolution.mixed
    return mixed.lines if mixed and len(mixed.lines) > 1 else ()


def _of_any_dataset(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=not LONG,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@_of_any_dataset(examples(120, long=6_000))
@given(st.integers(0, 2**62))
def test_the_engine_the_explanation_and_the_reference_agree(seed: int) -> None:
    rng = Random(seed)
    zone = rng.choice(ZONES)
    rows = random_rows(rng)
    loaded = accepted(as_frames(rows), zone)
    data = plain_data(rows, zone)
    engine = PriceEngine(compile_prices(loaded.frames), POLICY)
    for question in random_questions(rng, zone, QUESTIONS):
        if not question.customer_id and not question.currency:
            continue
        expected = _plain(resolve(data, question, POLICY))
        ask = _ask(question)
        assert _compiled(engine, engine.price(ask), 0) == expected, question
        explained = engine.explain(ask, 0)
        assert explained["answer"] == expected, question
        if expected["unit_price"] is not None:
            unit, extended = reproduce(explained)
            assert (decimal_text(unit), decimal_text(extended)) == (
                expected["unit_price"],
                expected["extended_price"],
            ), question


@_of_any_dataset(examples(80, long=2_000))
@given(st.integers(0, 2**62))
def test_many_lines_of_a_request_agree_too(seed: int) -> None:
    """What a request works out once for all its lines (stack, product groups) is right for each of them."""
    rng = Random(seed)
    zone, rows = rng.choice(ZONES), random_rows(rng)
    data = plain_data(rows, zone)
    policy = rng.choice([POLICY, ExceptionPolicy()])
    engine = PriceEngine(compile_prices(accepted(as_frames(rows), zone).frames), policy)
    questions = list(random_questions(rng, zone, QUESTIONS))
    for head in (each for each in questions[:4] if each.customer_id or each.currency):
        dated = rng.random() < 0.5
        texts = rng.choices(questions, k=rng.randint(1, 40))
        lines = [
            replace(
                head,
                sku=each.sku,
                quantity_micros=each.quantity_micros,
                uom=each.uom,
                as_of_us=each.as_of_us if dated and rng.random() < 0.3 else head.as_of_us,
            )
            for each in texts
        ]
        answers = engine.price(_ask(*lines))
        mixed = mixed_breaks((place, data, line) for place, line in enumerate(lines))
        for place, line in enumerate(lines):
            own = {key: each for key, each in mixed.items() if place in each.lines and len(lines) > 1}
            expected = resolve(data, replace(line, mixed=own), policy)
            assert _compiled(engine, answers, place) == _plain(expected), (place, lines)
            assert _counted(answers, place) == _more_than_one(expected)
