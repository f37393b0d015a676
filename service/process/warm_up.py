"""Kernels compiled before anybody asks: a first request that waits for a compiler is one that times out."""

import contextlib

import numpy as np

from pricegrid import v1
from pricegrid.atp.arrays.pair_rows import PairRows
from pricegrid.atp.live.in_order_streams import InOrderStreams
from pricegrid.atp.live.layout import VERSION
from pricegrid.atp.live.positions import LiveWriter, PairImage
from pricegrid.atp.model import CheckAsk, PromiseAsk, Source
from pricegrid.atp.rules.events import Event, Kind, Measure
from pricegrid.atp.rules.streams import Base, Stream
from pricegrid.pricing_engine.engine import PriceAsk
from pricegrid.pricing_engine.errors import PricingError
from pricegrid.pricing_engine.model import MICROS
from pricegrid.service.codec.events import encode_events
from pricegrid.service.codec.prices import decode_quote_lines, encode_price_lines, encode_quote_lines
from pricegrid.service.fast_path.kernel import QUOTE
from pricegrid.service.live.events import scanned_events
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.call import ResponseHeader

_ONE, _NO_UOM = np.full(1, MICROS, np.int64), [b""]


def warm(loaded: LoadedSnapshot) -> None:
    """Compiles (or loads from the cache) what answers a request and takes in an event, by doing one of each kind."""
    warm_prices(loaded)
    warm_fast_path(loaded)
    if _has_branches(loaded):
        warm_availability(loaded)
        warm_live()


def _has_branches(loaded: LoadedSnapshot) -> bool:
    return loaded.availability is not None and len(loaded.availability.positions.branches) > 0


def warm_prices(loaded: LoadedSnapshot) -> None:
    """Prices, explained and encoded.

    An explanation reads the arrays by kernels of its own: that of any item whose price is looked for will do.
    """
    currency, engine, sku = _any_currency(loaded), loaded.engine, loaded.engine.a_sku()
    for text in (b"?", sku.encode()):
        ask = PriceAsk("", currency, "", 0, [text], _ONE, _NO_UOM)
        with contextlib.suppress(PricingError):
            answers = engine.price(ask)
            engine.explain(ask, 0)
            header = ResponseHeader(loaded.version, 0, 0, "")
            encode_price_lines(engine, answers, header)
            encode_quote_lines(engine, answers, None, header)


def warm_fast_path(loaded: LoadedSnapshot) -> None:
    """A simple quote from its bytes to its answer's."""
    if loaded.fast_path is not None:
        line = v1.PriceLine(sku="?", quantity_micros=MICROS)
        branches = []
        if loaded.availability is not None and _has_branches(loaded):
            branches = [loaded.availability.branch(0)]
        quote = v1.QuoteLinesRequest(lines=[line], currency=_any_currency(loaded), branches=branches)
        loaded.fast_path.answer(quote.SerializeToString(), QUOTE, loaded.created_at_us, "")
        decode_quote_lines(quote.SerializeToString())


def _any_currency(loaded: LoadedSnapshot) -> str:
    """Of a book; any code where there is none."""
    return next(iter(loaded.engine.currencies()), "XXX")


def warm_availability(loaded: LoadedSnapshot) -> None:
    """What is free, and what can be promised by when; a snapshot without positions has nothing to do."""
    engine, as_of_us = loaded.availability, loaded.created_at_us
    if engine is None:
        return
    starts = engine.positions.tables.kit_start
    plain = np.flatnonzero(starts[1:] == starts[:-1])  # a kit would not be answered by the kernels alone
    skus = [engine.sku(int(plain[0])).encode() if len(plain) else b"?"]
    branches = [engine.branch(0).encode()]
    engine.check(CheckAsk(as_of_us, skus, _ONE, _NO_UOM, branches, projected=True))
    engine.promise(PromiseAsk(as_of_us, skus, _ONE, _NO_UOM, branches))
    if len(plain):
        engine.free_from(int(plain[0]), 0, as_of_us, 0)


def warm_live() -> None:
    """Live positions, and what an event makes of them."""
    writer, nothing = LiveWriter.in_memory(1, 64), (0,) * VERSION
    writer.put(0, 0, PairImage(nothing, [], [], []))
    writer.put_figures([(0, 0)], [nothing])
    writer.put_held(0, 0, day=0, expires_us=1, quantity_micros=1, number=1)
    event = Event(Source.ERP, 1, 1, Measure.ON_HAND, Kind.SET, "?", "?", 0)
    raw, streams = encode_events([event]), InOrderStreams()
    rows, place = scanned_events(raw), streams.add(("?", "?"), 0, 0, is_held=False)
    if rows is not None and streams.take_over(place, Base(PairRows()), Stream([event], [(1, 1)])):
        streams.publish(writer, streams.fold(rows, streams.indices(raw, rows))[1])
        streams.drop(place, ("?", "?"))
