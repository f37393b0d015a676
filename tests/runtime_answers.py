"""Answers written by the protobuf runtime, an object a line: the judge of what the compiled writer makes of them."""

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from pricegrid import v1
from pricegrid.pricing_engine.engine import PriceAnswers, PriceEngine
from pricegrid.service.codec import prices as codec
from pricegrid.service.codec.plain_writer import price_results, quote_results
from pricegrid.service.erp_overlay.price_sources import NO_PRICE_SOURCES, PriceSources
from pricegrid.service.rpc.call import ResponseHeader


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

    for judge in (encode_price_lines, encode_explain_price, encode_quote_lines):
        monkeypatch.setattr(codec, judge.__name__, judged(getattr(codec, judge.__name__), judge))
    return answers


def encode_price_lines(
    engine: PriceEngine,
    answers: PriceAnswers,
    header: ResponseHeader,
    sources: PriceSources = NO_PRICE_SOURCES,
) -> bytes:
    """Writes a `PriceLinesResponse`."""
    results = price_results(engine, answers, sources)
    return v1.PriceLinesResponse(
        results=results,
        currency=answers.currency,
        snapshot_version=header.snapshot_version,
        snapshot_age_ms=header.snapshot_age_ms,
        as_of_us=header.as_of_us,
        correlation_id=header.correlation_id,
        mixed_breaks=_mixed_breaks(answers),
    ).SerializeToString()


def _mixed_breaks(answers: PriceAnswers) -> Iterator[v1.MixedBreak]:
    for each in answers.mixed:
        yield v1.MixedBreak(
            break_group=each.mixed.break_group,
            quantity_micros=int(min(each.mixed.quantity_micros, 2**63 - 1)),
            counted_lines=each.mixed.lines,
            priced_lines=each.priced_lines,
        )


def encode_explain_price(
    engine: PriceEngine,
    answers: PriceAnswers,
    document: dict[str, object],
    header: ResponseHeader,
    sources: PriceSources = NO_PRICE_SOURCES,
) -> bytes:
    """Writes an `ExplainPriceResponse`."""
    results = price_results(engine, answers, sources)
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
    free: NDArray[np.int64] | None,
    header: ResponseHeader,
    sources: PriceSources = NO_PRICE_SOURCES,
) -> bytes:
    """Writes a `QuoteLinesResponse`."""
    return v1.QuoteLinesResponse(
        results=quote_results(engine, answers, free, header.as_of_us, sources),
        currency=answers.currency,
        snapshot_version=header.snapshot_version,
        snapshot_age_ms=header.snapshot_age_ms,
        as_of_us=header.as_of_us,
        correlation_id=header.correlation_id,
        mixed_breaks=_mixed_breaks(answers),
    ).SerializeToString()
