"""One price request in, one dense answer out: the compiled kernel, and the reference for what it passes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_engine import kernel as kn
from pricing_engine.decode import Decoder
from pricing_engine.errors import CurrencyRequiredError, InvalidCurrencyError, UnknownCustomerError
from pricing_engine.explain import explanation
from pricing_engine.matrix import (
    BOOK_CURRENCY,
    CUSTOMER_CURRENCY,
    ITEM_FLAG_ERP,
    ITEM_FLAGS,
    NAME_TABLES,
    Names,
    matrix_from_arrays,
)
from pricing_engine.model import (
    ExceptionPolicy,
    ExceptionReason,
    LineStatus,
    PriceQuestion,
    minor_unit_micros,
)
from pricing_engine.reference import resolve
from pricing_engine.resolution import Resolution

_UNKNOWN_NAME = -2


@dataclass(frozen=True, slots=True)
class PriceAsk:
    """One request: one customer, n lines.

    `customer_id` '' asks for what everyone gets, and then `currency` is required; `currency` '' is the customer's;
    `branch` '' is none. `skus` and `uoms` are UTF-8, a unit b'' is the base unit; `quantities_micros` (n,) int64,
    where 0 is answered INVALID_QUANTITY. Without `service_desk`, NOT_ENTITLED is shown as UNKNOWN_ITEM (P11).
    """

    customer_id: str
    currency: str
    branch: str
    as_of_us: int
    skus: Sequence[bytes]
    quantities_micros: NDArray[np.int64]
    uoms: Sequence[bytes]
    service_desk: bool = False


@dataclass(frozen=True, slots=True)
class PriceAnswers:
    """Answers to n lines, dense: index i answers line i. Prices are micros of `currency`, 0 where there is none."""

    currency: str
    status: NDArray[np.uint8]  # LineStatus
    exception: NDArray[
        np.uint8
    ]  # ExceptionReason: other than NONE the price is an unconfirmed exception (P13)
    unit_price_micros: NDArray[np.int64]
    extended_price_micros: NDArray[np.int64]
    minimum_quantity_micros: NDArray[np.int64]  # with BELOW_MINIMUM: in the asked unit, rounded up
    book: NDArray[np.int32]  # ordinal, -1: none
    layer: NDArray[np.int32]  # ordinal, -1: none
    entry: NDArray[np.int64]  # ordinal, -1: none
    valid_until_us: NDArray[np.int64]  # NEVER_US: no known end
    floor_lifted: NDArray[np.bool_]
    converted: NDArray[np.bool_]


class PriceEngine:
    """Answers price requests over one snapshot's arrays (see `pricing_engine.matrix` for their names and shapes)."""

    def __init__(
        self, arrays: Mapping[str, NDArray[np.generic]], policy: ExceptionPolicy | None = None
    ) -> None:
        self._matrix = matrix_from_arrays(arrays)
        self._names = {
            table: Names(np.asarray(arrays[f"{table}_bytes"]), np.asarray(arrays[f"{table}_offsets"]))
            for table in NAME_TABLES
        }
        self._policy = policy or ExceptionPolicy()
        self._decoder = Decoder(self._matrix, self._names)
        self._book_currency = self._matrix.books[:, BOOK_CURRENCY]
        self._currencies = {self._names["currency"][i]: i for i in range(len(self._names["currency"]))}

    def price(self, ask: PriceAsk) -> PriceAnswers:
        """Answer every line; raises UnknownCustomerError, CurrencyRequiredError or InvalidCurrencyError."""
        customer, currency_name = self._customer_and_currency(ask)
        currency = self._currencies.get(currency_name, _UNKNOWN_NAME)
        branch = (self._names["branch"].find(ask.branch)) if ask.branch else -1
        policy = self._policy
        request = np.array(
            [
                customer,
                currency,
                branch if branch >= 0 or not ask.branch else _UNKNOWN_NAME,
                ask.as_of_us,
                minor_unit_micros(currency_name),
                policy.grace_us,
            ],
            dtype=np.int64,
        )
        answers = np.empty((len(ask.skus), kn.ANSWER_SIZE), dtype=np.int64)
        skus, sku_offsets = _joined(ask.skus)
        uoms, uom_offsets = _joined(ask.uoms)
        kn.price_batch(
            self._matrix, request, skus, sku_offsets, ask.quantities_micros, uoms, uom_offsets, answers
        )
        for line in np.flatnonzero(answers[:, kn.ANSWER_STATUS] == kn.NEEDS_REFERENCE):
            self._resolve_exactly(ask, int(line), answers[line])
        return self._finish(ask, currency_name, answers)

    def explain(self, ask: PriceAsk, line: int) -> dict[str, object]:
        """The explanation of one line (P12): JSON-able, decimals and instants as text; raises as `price` does.

        A caller without the service-desk right who may not see the item gets what an unknown item gets.
        """
        resolution = self._resolve(ask, line, self._policy)
        if resolution.status == LineStatus.NOT_ENTITLED and not ask.service_desk:
            resolution = Resolution(LineStatus.UNKNOWN_ITEM, resolution.currency)
        return explanation(self._question(ask, line), resolution)

    def book_id(self, book: int) -> str:
        """A book's id by its ordinal in an answer."""
        return self._names["book"][book]

    def layer_name(self, layer: int) -> str:
        """A layer's name by its ordinal in an answer."""
        return self._names["layer"][layer]

    def entry_id(self, entry: int) -> str:
        """An entry's id by its ordinal in an answer, '' if the dataset gave none."""
        return self._decoder.entry_id(entry)

    def _customer_and_currency(self, ask: PriceAsk) -> tuple[int, str]:
        customer = -1
        if ask.customer_id:
            customer = self._names["customer"].find(ask.customer_id)
            if customer < 0:
                raise UnknownCustomerError(ask.customer_id)
        currency = ask.currency
        if not currency:
            if customer < 0:
                raise CurrencyRequiredError
            return customer, self._names["currency"][self._matrix.customers[customer, CUSTOMER_CURRENCY]]
        if not (len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()):
            raise InvalidCurrencyError(currency)
        return customer, currency

    def _question(self, ask: PriceAsk, line: int) -> PriceQuestion:
        return PriceQuestion(
            ask.customer_id,
            ask.skus[line].decode("utf-8", "replace"),
            int(ask.quantities_micros[line]),
            ask.as_of_us,
            ask.uoms[line].decode("utf-8", "replace"),
            ask.currency,
            ask.branch,
        )

    def _resolve(self, ask: PriceAsk, line: int, policy: ExceptionPolicy) -> Resolution:
        question = self._question(ask, line)
        data = self._decoder.price_data(question.customer_id, question.sku)
        return resolve(data, question, policy)

    def _resolve_exactly(self, ask: PriceAsk, line: int, answer: NDArray[np.int64]) -> None:
        """Write the price side of one line from the reference; exceptions are added with all others."""
        resolution = self._resolve(ask, line, ExceptionPolicy())
        status = resolution.status
        if status == LineStatus.ERP_UNAVAILABLE:  # an item of the ERP's without a matrix price
            below = resolution.minimum_quantity_micros > 0
            status = LineStatus.BELOW_MINIMUM if below else LineStatus.NO_PRICE
        answer[kn.ANSWER_STATUS] = status
        answer[kn.ANSWER_UNIT_PRICE] = resolution.unit_price_micros
        answer[kn.ANSWER_EXTENDED_PRICE] = resolution.extended_price_micros
        answer[kn.ANSWER_MINIMUM] = resolution.minimum_quantity_micros
        answer[kn.ANSWER_VALID_UNTIL] = resolution.valid_until_us
        offer = resolution.offer
        answer[kn.ANSWER_BOOK] = self._names["book"].find(offer.book.book_id) if offer else -1
        answer[kn.ANSWER_LAYER] = self._decoder.layer_ordinal(resolution.layer) if offer else -1
        answer[kn.ANSWER_ENTRY] = offer.entry.ordinal if offer else -1
        answer[kn.ANSWER_LIFTED] = offer.lifted if offer else 0

    def _finish(self, ask: PriceAsk, currency: str, answers: NDArray[np.int64]) -> PriceAnswers:
        """Mark exceptions (P13), hide what the caller may not see (P11), and give each column its type."""
        status = answers[:, kn.ANSWER_STATUS].astype(np.uint8)
        item = answers[:, kn.ANSWER_ITEM]
        extended = answers[:, kn.ANSWER_EXTENDED_PRICE]
        priced = status == LineStatus.OK
        answered = priced | (status == LineStatus.NO_PRICE) | (status == LineStatus.BELOW_MINIMUM)
        exception = np.zeros(len(status), dtype=np.uint8)
        policy = self._policy
        flagged_skus = policy.flagged_skus
        if ask.customer_id in policy.flagged_customers:
            exception[answered] = ExceptionReason.FLAGGED
        elif flagged_skus:
            flagged = np.fromiter(
                (s.decode("utf-8", "replace") in flagged_skus for s in ask.skus), bool, len(ask.skus)
            )
            exception[answered & flagged] = ExceptionReason.FLAGGED
        if policy.grace_us > 0:
            exception[answered & (answers[:, kn.ANSWER_EXPIRED] == 1)] = ExceptionReason.AGREEMENT_EXPIRED
        threshold = policy.extended_price_above_micros.get(currency)
        if threshold is not None:
            exception[priced & (np.abs(extended) > threshold)] = ExceptionReason.OVER_THRESHOLD
        exception[status == LineStatus.NO_PRICE] = ExceptionReason.NO_PRICE
        from_erp = (
            answered & (self._matrix.items[item, ITEM_FLAGS] & ITEM_FLAG_ERP != 0)
            if len(self._matrix.items)
            else answered
        )
        exception[from_erp] = ExceptionReason.PRICE_SOURCE_ERP
        status[from_erp & ~priced] = LineStatus.ERP_UNAVAILABLE
        if not ask.service_desk:
            status[status == LineStatus.NOT_ENTITLED] = LineStatus.UNKNOWN_ITEM
        book = answers[:, kn.ANSWER_BOOK]
        asked = self._currencies.get(currency, _UNKNOWN_NAME)
        converted = (
            (book >= 0) & (self._book_currency[book] != asked) if len(self._book_currency) else book >= 0
        )
        return PriceAnswers(
            currency,
            status,
            exception,
            answers[:, kn.ANSWER_UNIT_PRICE],
            extended,
            answers[:, kn.ANSWER_MINIMUM],
            book.astype(np.int32),
            answers[:, kn.ANSWER_LAYER].astype(np.int32),
            answers[:, kn.ANSWER_ENTRY],
            answers[:, kn.ANSWER_VALID_UNTIL],
            answers[:, kn.ANSWER_LIFTED] == 1,
            converted,
        )


def _joined(texts: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Texts as one u8 array and their offsets, int64 (n + 1)."""
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=offsets[1:])
    return np.frombuffer(b"".join(texts), dtype=np.uint8), offsets
