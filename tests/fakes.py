"""Stand-ins for the engine and for gRPC's side of a call, as plain classes."""

from collections.abc import Callable
from typing import Never

import grpc
import numpy as np

from pricegrid.columnar.tables import describe
from pricegrid.pricing_engine.engine import PriceAnswers, PriceAsk
from pricegrid.pricing_engine.errors import UnknownCustomerError
from pricegrid.pricing_engine.kernels import price as kn
from pricegrid.pricing_engine.model import NEVER_US, LineStatus
from pricegrid.service.process.snapshots import LoadedSnapshot
from tests.name_tables import matrix_with


class FakeEngine:
    """Prices every item at `price_micros`; '?' is unknown, 'min' is below its minimum of 5; customer 'nobody' too."""

    def __init__(self, price_micros: int = 1_500_000) -> None:
        self.price_micros = price_micros
        self.asked: list[PriceAsk] = []
        names = {"book": ["book-0"], "layer": ["layer-0"], "entry_id": ["entry-0"]}
        self._matrix = matrix_with({"currency": [], **names, "delta_entry_id": []}, full_load=1)
        self.descriptor = describe(self._matrix)
        self.during: Callable[[], None] = lambda: None

    def price(self, ask: PriceAsk, between: Callable[[], None] = lambda: None) -> PriceAnswers:
        between()
        self.asked.append(ask)
        self.during()
        if ask.customer_id == "nobody":
            raise UnknownCustomerError(ask.customer_id)
        statuses = {b"?": LineStatus.UNKNOWN_ITEM, b"min": LineStatus.BELOW_MINIMUM}
        status = np.array([statuses.get(sku, LineStatus.OK) for sku in ask.skus])
        ok = status == LineStatus.OK
        columns = np.zeros((len(ask.skus), kn.ANSWER_SIZE), np.int64)
        columns[:, kn.ANSWER_STATUS] = status
        columns[:, kn.ANSWER_UNIT_PRICE] = np.where(ok, self.price_micros, 0)
        extended = self.price_micros * ask.quantities_micros // 1_000_000
        columns[:, kn.ANSWER_EXTENDED_PRICE] = np.where(ok, extended, 0)
        columns[:, kn.ANSWER_MINIMUM] = np.where(status == LineStatus.BELOW_MINIMUM, 5_000_000, 0)
        for ordinal in (kn.ANSWER_BOOK, kn.ANSWER_LAYER, kn.ANSWER_ENTRY):
            columns[:, ordinal] = np.where(ok, 0, -1)
        columns[:, kn.ANSWER_VALID_UNTIL] = np.where(ok, 1_000_000, NEVER_US)
        return PriceAnswers(ask.currency or "EUR", columns)

    def explain(self, ask: PriceAsk, line: int) -> dict[str, object]:
        return {"question": {"sku": ask.skus[line].decode()}, "answer": {}, "layers": [], "steps": []}

    def book_id(self, book: int) -> str:
        return f"book-{book}"

    def layer_name(self, layer: int) -> str:
        return f"layer-{layer}"

    def entry_id(self, entry: int) -> str:
        return f"entry-{entry}"


def fake_snapshot(
    version: str = "20260101T000000Z-00000000", price_micros: int = 1_500_000
) -> LoadedSnapshot:
    return LoadedSnapshot(
        version, created_at_us=0, engine=FakeEngine(price_micros), time_zone="Europe/Berlin"
    )


class OneSnapshot:
    """A source that has one snapshot, whatever is asked for."""

    def __init__(self, loaded: LoadedSnapshot) -> None:
        self.loaded = loaded

    def get(self, version: str) -> LoadedSnapshot:
        return self.loaded


class AbortedError(Exception):
    """What `FakeContext.abort` raises."""


class FakeContext:
    """The server's side of one call."""

    def __init__(self, *metadata: tuple[str, str]) -> None:
        self._metadata = metadata
        self.code: grpc.StatusCode | None = None
        self.details = ""
        self.trailing: dict[str, str | bytes] = {}

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def time_remaining(self) -> float:
        return 1e10  # as gRPC says where there is no deadline

    def set_trailing_metadata(self, trailing: tuple[tuple[str, str | bytes], ...]) -> None:
        self.trailing = dict(trailing)

    def abort(self, code: grpc.StatusCode, details: str) -> Never:
        self.code, self.details = code, details
        raise AbortedError
