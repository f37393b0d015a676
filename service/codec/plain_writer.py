"""Answers as the protobuf runtime writes them, an object a line: what the compiled writer must equal, and who writes
where nothing is compiled."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pricegrid import v1
from pricegrid.atp.kernels.quote import (
    FREE_AS_OF,
    FREE_AVAILABLE,
    FREE_DAY,
    FREE_FRESH,
    FREE_SHORTAGE,
    FREE_SIZE,
    FREE_STATUS,
    NO_DAY,
)
from pricegrid.atp.model import AvailabilityStatus
from pricegrid.pricing_engine.engine import PriceAnswers, PriceEngine
from pricegrid.pricing_engine.model import NEVER_US, LineStatus
from pricegrid.service.codec.availability import day_text, freshness_messages
from pricegrid.service.erp_overlay.price_sources import NO_PRICE_SOURCES, PriceSources

_OFFSET = 1  # 0 is UNSPECIFIED in the proto


def quote_results(
    engine: PriceEngine,
    answers: PriceAnswers,
    known: NDArray[np.int64] | None,
    as_of_us: int,
    sources: PriceSources = NO_PRICE_SOURCES,
) -> list[v1.QuoteLineResult]:
    """The lines of a quote as messages, in order; `known` (n, FREE_SIZE) is their availability, None for none."""
    prices = price_results(engine, answers, sources)
    free: Sequence[v1.QuoteAvailability | None] = [None] * len(prices)
    if known is not None:
        free = _availability(known, as_of_us)
    return [
        v1.QuoteLineResult(price=price, availability=each) for price, each in zip(prices, free, strict=True)
    ]


def _availability(free: NDArray[np.int64], as_of_us: int) -> list[v1.QuoteAvailability]:
    columns = zip(
        *free[:, [FREE_STATUS, FREE_AVAILABLE, FREE_SHORTAGE, FREE_DAY]].T.tolist(),
        freshness_messages(free[:, FREE_FRESH:FREE_AS_OF], free[:, FREE_AS_OF:FREE_SIZE], as_of_us),
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


def price_results(
    engine: PriceEngine, answers: PriceAnswers, sources: PriceSources = NO_PRICE_SOURCES
) -> list[v1.PriceLineResult]:
    """The answers as messages, in line order."""
    books = {book: engine.book_id(book) for book in set(answers.book.tolist()) if book >= 0}
    layers = {layer: engine.layer_name(layer) for layer in set(answers.layer.tolist()) if layer >= 0}
    columns = zip(
        answers.status.tolist(),
        answers.exception.tolist(),
        answers.unit_price_micros.tolist(),
        answers.price_per.tolist(),
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
        price_per,
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
            result.price_per = price_per if price_per > 1 else 0
            result.source = v1.PriceSource.PRICE_SOURCE_MATRIX
            result.book_id = books.get(book, "")
            result.entry_id = engine.entry_id(entry) if entry >= 0 else ""
            result.layer = layers.get(layer, "")
            result.floor_lifted = lifted
            result.converted = converted
        elif status == LineStatus.BELOW_MINIMUM:
            result.minimum_quantity_micros = minimum
        results.append(result)
    _mark(results, sources)
    return results


def _mark(results: Sequence[v1.PriceLineResult], sources: PriceSources) -> None:
    """Writes the sources into encoded lines."""
    for line, mark in sources.items():
        results[line].source = mark.source
        results[line].source_age_ms = mark.age_ms
