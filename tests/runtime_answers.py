"""Answers written by the protobuf runtime, an object a line: the judge of what the compiled writer makes of them."""

import json
from collections.abc import Callable, Sequence

import pytest

from pricegrid import v1
from pricegrid.atp.kernels.quote import NO_DAY
from pricegrid.atp.model import AvailabilityStatus
from pricegrid.pricing_engine.engine import PriceAnswers, PriceEngine
from pricegrid.pricing_engine.model import NEVER_US, LineStatus
from pricegrid.service.codec import prices as codec
from pricegrid.service.codec import quotes as quote_codec
from pricegrid.service.codec.availability import day_text, freshness_messages
from pricegrid.service.codec.quotes import QuoteAvailability
from pricegrid.service.erp_overlay.price_sources import NO_PRICE_SOURCES, PriceSources
from pricegrid.service.rpc.call import ResponseHeader

_OFFSET = 1  # 0 is UNSPECIFIED in the proto


@pytest.fixture(name="judged")
def judge_answers(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Holds whatever the services write meanwhile equal to what the runtime writes; the answers."""
    answers: list[bytes] = []

    def judged(write: Callable[..., bytes], judge: Callable[..., bytes]) -> Callable[..., bytes]:
        def both(*asked: object) -> bytes:
            answers.append(write(*asked))
            assert answers[-1] == judge(*asked)
            return answers[-1]

        return both

    for module, judge in (
        (codec, encode_price_lines),
        (codec, encode_explain_price),
        (quote_codec, encode_quote_lines),
    ):
        monkeypatch.setattr(module, judge.__name__, judged(getattr(module, judge.__name__), judge))
    return answers


def encode_price_lines(
    engine: PriceEngine,
    answers: PriceAnswers,
    header: ResponseHeader,
    sources: PriceSources = NO_PRICE_SOURCES,
) -> bytes:
    """Writes a `PriceLinesResponse`."""
    results = price_results(engine, answers)
    set_sources(results, sources)
    return v1.PriceLinesResponse(
        results=results,
        currency=answers.currency,
        snapshot_version=header.snapshot_version,
        snapshot_age_ms=header.snapshot_age_ms,
        as_of_us=header.as_of_us,
        correlation_id=header.correlation_id,
    ).SerializeToString()


def encode_explain_price(
    engine: PriceEngine,
    answers: PriceAnswers,
    document: dict[str, object],
    header: ResponseHeader,
    sources: PriceSources = NO_PRICE_SOURCES,
) -> bytes:
    """Writes an `ExplainPriceResponse`."""
    results = price_results(engine, answers)
    set_sources(results, sources)
    return v1.ExplainPriceResponse(
        result=results[0],
        explanation_json=json.dumps(document, ensure_ascii=False),
        currency=answers.currency,
        snapshot_version=header.snapshot_version,
        snapshot_age_ms=header.snapshot_age_ms,
        as_of_us=header.as_of_us,
        correlation_id=header.correlation_id,
    ).SerializeToString()


def encode_quote_lines(
    engine: PriceEngine,
    answers: PriceAnswers,
    availability: QuoteAvailability | None,
    header: ResponseHeader,
    sources: PriceSources = NO_PRICE_SOURCES,
) -> bytes:
    """Writes a `QuoteLinesResponse`."""
    prices = price_results(engine, answers)
    set_sources(prices, sources)
    free: Sequence[v1.QuoteAvailability | None] = [None] * len(prices)
    if availability is not None:
        free = _availability(availability, header.as_of_us)
    return v1.QuoteLinesResponse(
        results=[
            v1.QuoteLineResult(price=price, availability=each)
            for price, each in zip(prices, free, strict=True)
        ],
        currency=answers.currency,
        snapshot_version=header.snapshot_version,
        snapshot_age_ms=header.snapshot_age_ms,
        as_of_us=header.as_of_us,
        correlation_id=header.correlation_id,
    ).SerializeToString()


def _availability(availability: QuoteAvailability, as_of_us: int) -> list[v1.QuoteAvailability]:
    totals = availability.totals
    columns = zip(
        totals.status.tolist(),
        totals.available_micros.tolist(),
        totals.shortage_micros.tolist(),
        availability.promise_days,
        freshness_messages(totals.freshness, totals.source_as_of_us, as_of_us),
        strict=True,
    )
    results = []
    for status, available, shortage, day, freshness in columns:
        result = v1.QuoteAvailability(status=status + _OFFSET, freshness=freshness)
        if status == AvailabilityStatus.OK:
            result.available_micros, result.shortage_micros = available, shortage
        if day < NO_DAY:
            result.limited_by = NO_DAY - day
        elif day != NO_DAY:
            result.promise_date = day_text(day)
        results.append(result)
    return results


def price_results(engine: PriceEngine, answers: PriceAnswers) -> list[v1.PriceLineResult]:
    """The answers as messages, in line order."""
    books = {book: engine.book_id(book) for book in set(answers.book.tolist()) if book >= 0}
    layers = {layer: engine.layer_name(layer) for layer in set(answers.layer.tolist()) if layer >= 0}
    columns = zip(
        answers.status.tolist(),
        answers.exception.tolist(),
        answers.unit_price_micros.tolist(),
        answers.extended_price_micros.tolist(),
        answers.minimum_quantity_micros.tolist(),
        answers.book.tolist(),
        answers.entry.tolist(),
        answers.layer.tolist(),
        answers.valid_until_us.tolist(),
        answers.floor_lifted.tolist(),
        answers.converted.tolist(),
        strict=True,
    )
    results = []
    for (
        status,
        exception,
        unit,
        extended,
        minimum,
        book,
        entry,
        layer,
        until_us,
        lifted,
        converted,
    ) in columns:
        result = v1.PriceLineResult(status=status + _OFFSET, exception=exception)
        if until_us < NEVER_US:
            result.valid_until_us = until_us
        if status == LineStatus.OK:
            result.unit_price_micros = unit
            result.extended_price_micros = extended
            result.source = v1.PriceSource.PRICE_SOURCE_MATRIX
            result.book_id = books.get(book, "")
            result.entry_id = engine.entry_id(entry) if entry >= 0 else ""
            result.layer = layers.get(layer, "")
            result.floor_lifted = lifted
            result.converted = converted
        elif status == LineStatus.BELOW_MINIMUM:
            result.minimum_quantity_micros = minimum
        results.append(result)
    return results


def set_sources(results: Sequence[v1.PriceLineResult], sources: PriceSources) -> None:
    """Writes the sources into encoded lines."""
    for line, mark in sources.items():
        results[line].source = mark.source
        results[line].source_age_ms = mark.age_ms
