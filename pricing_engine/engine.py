"""One price request in, one dense answer out: the compiled kernel, and the reference for what it passes on."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from pricegrid.columnar.names import Names
from pricegrid.columnar.tables import describe
from pricegrid.pricing_engine.arrays.decode import Decoder
from pricegrid.pricing_engine.arrays.limited import LimitedNames, customers_below, limited_slots
from pricegrid.pricing_engine.arrays.matrix import (
    CUSTOMER_CURRENCY,
    ITEM_NAMES,
    NAME_TABLES,
    item_base_uom,
    matrix_from_arrays,
)
from pricegrid.pricing_engine.errors import CurrencyRequiredError, InvalidCurrencyError, UnknownCustomerError
from pricegrid.pricing_engine.kernels import price as kn
from pricegrid.pricing_engine.lines import LineColumns
from pricegrid.pricing_engine.model import (
    INT64_MAX,
    ExceptionPolicy,
    ExceptionReason,
    LineStatus,
    Mixed,
    PriceData,
    PriceQuestion,
    minor_unit_micros,
)
from pricegrid.pricing_engine.rules.explain import explanation
from pricegrid.pricing_engine.rules.mixed import mixed_breaks
from pricegrid.pricing_engine.rules.reference import resolve
from pricegrid.pricing_engine.rules.resolution import Resolution

BATCH_LINES: Final = 1_000
"""What the kernel prices at once, some two milliseconds."""
_UNKNOWN_NAME = -2
_ANSWERED = (LineStatus.OK, LineStatus.NO_PRICE, LineStatus.BELOW_MINIMUM)


@dataclass(frozen=True, slots=True)
class PriceAsk:
    """One request: one customer, n lines.

    `customer_id` '' asks for what everyone gets, and then `currency` is required; `currency` '' is the customer's;
    `branch` '' is none. `skus` and `uoms` are UTF-8, a unit b'' is the base unit; `quantities_micros` (n,) int64,
    where 0 is answered INVALID_QUANTITY. `as_of_us` is for lines without an instant of their own (P20). Without
    `service_desk`, NOT_ENTITLED is shown as UNKNOWN_ITEM (P11).
    """

    customer_id: str
    currency: str
    branch: str
    as_of_us: int
    skus: Sequence[bytes]
    quantities_micros: NDArray[np.int64]
    uoms: Sequence[bytes]
    service_desk: bool = False
    lines: LineColumns | None = None
    """The same lines, if the caller has them as columns (`PriceAsk.of`)."""

    @classmethod
    def of(
        cls,
        lines: LineColumns,
        *,
        customer_id: str,
        currency: str,
        branch: str,
        as_of_us: int,
        service_desk: bool,
    ) -> Self:
        """One request for these lines."""
        columns = (lines.skus, lines.quantities_micros, lines.uoms)
        return cls(customer_id, currency, branch, as_of_us, *columns, service_desk, lines)

    def line_as_of_us(self, line: int) -> int:
        """The instant that a line is asked about: its own (P20), else the request's."""
        own = kn.NO_AS_OF
        if self.lines is not None and self.lines.as_of_us is not None:
            own = int(self.lines.as_of_us[line])
        return self.as_of_us if own == kn.NO_AS_OF else own


@dataclass(frozen=True, slots=True)
class MixedBreak:
    """Lines of a request that counted together for breaks, and those whose prices come from that (P19)."""

    mixed: Mixed
    priced_lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PriceAnswers:
    """Answers to n lines, dense: index i answers line i. Columns are (n,) int64, prices micros of `currency`."""

    currency: str
    columns: NDArray[np.int64]
    """(n, 13), as the kernel writes them (`kernel.ANSWER_...`)."""
    mixed: tuple[MixedBreak, ...] = ()
    """Where lines counted together for breaks (P19)."""

    @property
    def status(self) -> NDArray[np.int64]:
        """A LineStatus each."""
        return self.columns[:, kn.ANSWER_STATUS]

    @property
    def exception(self) -> NDArray[np.int64]:
        """An ExceptionReason each; other than NONE the price is an unconfirmed exception (P13)."""
        return self.columns[:, kn.ANSWER_EXCEPTION]

    @property
    def unit_price_micros(self) -> NDArray[np.int64]:
        """Of `price_per` units asked; 0 where there is no price."""
        return self.columns[:, kn.ANSWER_UNIT_PRICE]

    @property
    def price_per(self) -> NDArray[np.int64]:
        """For how many units asked the unit price is (P14); 0 where there is no price."""
        return self.columns[:, kn.ANSWER_PRICE_PER]

    @property
    def extended_price_micros(self) -> NDArray[np.int64]:
        """0 where there is no price; negative for a return."""
        return self.columns[:, kn.ANSWER_EXTENDED_PRICE]

    @property
    def minimum_quantity_micros(self) -> NDArray[np.int64]:
        """With BELOW_MINIMUM: in the asked unit, rounded up; else 0."""
        return self.columns[:, kn.ANSWER_MINIMUM]

    @property
    def book(self) -> NDArray[np.int64]:
        """Ordinals, -1 for none."""
        return self.columns[:, kn.ANSWER_BOOK]

    @property
    def layer(self) -> NDArray[np.int64]:
        """Ordinals, -1 for none."""
        return self.columns[:, kn.ANSWER_LAYER]

    @property
    def entry(self) -> NDArray[np.int64]:
        """Ordinals, -1 for none."""
        return self.columns[:, kn.ANSWER_ENTRY]

    @property
    def valid_until_us(self) -> NDArray[np.int64]:
        """NEVER_US where no end is known (P10)."""
        return self.columns[:, kn.ANSWER_VALID_UNTIL]

    @property
    def floor_lifted(self) -> NDArray[np.bool_]:
        """Whether the floor margin lifted the price (P8)."""
        return np.equal(self.columns[:, kn.ANSWER_LIFTED], 1)

    @property
    def converted(self) -> NDArray[np.bool_]:
        """Whether the answering book has another currency (P3)."""
        return np.equal(self.columns[:, kn.ANSWER_CONVERTED], 1)


@dataclass(frozen=True, slots=True)
class KernelTerms:
    """A snapshot and the exception policy as other kernels take them; valid as long as the engine is alive."""

    descriptor: NDArray[np.int64]
    """`columnar.tables.describe` of the matrix."""
    currencies: NDArray[np.int64]
    """(currencies, 2) by ordinal: the minor unit in micros; the extended price above which a line is an exception."""
    flagged_customers: NDArray[np.int64]
    """Sorted ordinals."""
    flagged_items: NDArray[np.int64]
    grace_us: int


class PriceEngine:
    """Answers price requests over one snapshot's arrays (`pricing_engine.arrays.matrix` has names and shapes).

    With `by_reference` the reference answers every line: the same answers, for a few lines without compiled kernels.
    """

    def __init__(
        self,
        arrays: Mapping[str, NDArray[np.generic]],
        policy: ExceptionPolicy | None = None,
        *,
        by_reference: bool = False,
    ) -> None:
        self._by_reference = by_reference
        self._matrix = matrix_from_arrays(arrays)
        self._descriptor = describe(self._matrix)
        self._names = {
            table: Names(np.asarray(arrays[f"{table}_bytes"]), np.asarray(arrays[f"{table}_offsets"]))
            for table in NAME_TABLES
        }
        self._policy = policy or ExceptionPolicy()
        self._decoder = Decoder(self._matrix, self._names)
        self._currencies = self._names["currency"].ordinals()
        self._currency_names = tuple(self._currencies)
        self._branches = self._names["branch"].ordinals()
        self._has_break_groups = len(self._names["break_group"]) > 0

    @property
    def descriptor(self) -> NDArray[np.int64]:
        """`columnar.tables.describe` of the matrix; valid as long as the engine is alive."""
        return self._descriptor

    def kernel_terms(self) -> KernelTerms:
        """What `price` gives the kernel with every request."""
        policy, above = self._policy, self._policy.extended_price_above_micros
        terms = [(minor_unit_micros(name), above.get(name, INT64_MAX)) for name in self.currencies()]
        return KernelTerms(
            self._descriptor,
            np.array(terms, dtype=np.int64).reshape(-1, 2),
            self.ordinals("customer", policy.flagged_customers),
            self.ordinals("sku", policy.flagged_skus),
            policy.grace_us,
        )

    def ordinals(self, table: str, names: frozenset[str]) -> NDArray[np.int64]:
        """The ordinals of those names that the snapshot knows, sorted."""
        return np.array(sorted(at for at in map(self._names[table].find, names) if at >= 0), dtype=np.int64)

    def price(self, ask: PriceAsk, between: Callable[[], None] = lambda: None) -> PriceAnswers:
        """Answer every line; raises UnknownCustomerError, CurrencyRequiredError or InvalidCurrencyError.

        `between` is called before each batch of lines; what it raises ends the work.
        """
        customer, currency = self._customer_and_currency(ask)
        answers = np.empty((len(ask.skus), kn.ANSWER_SIZE), dtype=np.int64)
        answers[:, kn.ANSWER_STATUS] = kn.NEEDS_REFERENCE
        if not self._by_reference:
            self._ask_kernel(ask, customer, currency, answers, between)
        _, mixed = self._resolve_what_is_left(ask, answers, between)
        if self._policy.flagged_skus:
            self._flag_skus(ask, answers)
        return PriceAnswers(currency, answers, mixed)

    def finish(
        self,
        ask: PriceAsk,
        currency: int,
        answers: NDArray[np.int64],
        between: Callable[[], None] = lambda: None,
    ) -> PriceAnswers:
        """What `price` answers, from the kernel's `answers` to the same request for the service desk, which are
        changed in place; `currency` is an ordinal."""
        was_left, mixed = self._resolve_what_is_left(ask, answers, between)
        if was_left and self._policy.flagged_skus:
            self._flag_skus(ask, answers)
        if not ask.service_desk:
            status = answers[:, kn.ANSWER_STATUS]
            status[status == LineStatus.NOT_ENTITLED] = LineStatus.UNKNOWN_ITEM
        return PriceAnswers(self._currency_names[currency], answers, mixed)

    def _ask_kernel(
        self,
        ask: PriceAsk,
        customer: int,
        currency: str,
        answers: NDArray[np.int64],
        between: Callable[[], None],
    ) -> None:
        policy = self._policy
        request = np.array(
            [
                customer,
                self._currencies.get(currency, _UNKNOWN_NAME),
                self._branches.get(ask.branch, _UNKNOWN_NAME) if ask.branch else -1,
                ask.as_of_us,
                minor_unit_micros(currency),
                policy.grace_us,
                policy.extended_price_above_micros.get(currency, INT64_MAX),
                ask.customer_id in policy.flagged_customers,
                ask.service_desk,
            ],
            dtype=np.int64,
        )
        lines = ask.lines or LineColumns(ask.skus, ask.quantities_micros, ask.uoms)
        text, rows = lines.for_kernel()
        for first in range(0, len(rows), BATCH_LINES):
            between()
            batch = slice(first, first + BATCH_LINES)
            kn.price_batch(self._descriptor, request, text, rows[batch], answers[batch])

    def _resolve_what_is_left(
        self, ask: PriceAsk, answers: NDArray[np.int64], between: Callable[[], None]
    ) -> tuple[bool, tuple[MixedBreak, ...]]:
        """Answer the lines that the kernel leaves to the reference; whether there are any, and which of the request's
        lines counted together for their breaks (P19)."""
        left = np.flatnonzero(answers[:, kn.ANSWER_STATUS] == kn.NEEDS_REFERENCE).tolist()
        counted = self._mixed(ask, between) if left else {}
        priced: dict[tuple[str, bool], list[int]] = {}
        for line in left:
            between()
            mixed = self._resolve_exactly(ask, line, answers[line], counted)
            if mixed is not None and len(mixed.lines) > 1:
                priced.setdefault((mixed.break_group, ask.quantities_micros[line] < 0), []).append(line)
        return bool(left), tuple(
            MixedBreak(counted[key], tuple(lines)) for key, lines in sorted(priced.items())
        )

    def _mixed(
        self, ask: PriceAsk, between: Callable[[], None] = lambda: None
    ) -> Mapping[tuple[str, bool], Mixed]:
        """What the lines of a request count together for breaks (P19), where the snapshot has break groups."""
        if not self._has_break_groups or len(ask.skus) < 2:
            return {}

        def lines() -> Iterator[tuple[int, PriceData, PriceQuestion]]:
            for line in range(len(ask.skus)):
                between()
                question = self._question(ask, line)
                yield line, self._decoder.price_data(question.customer_id, question.sku), question

        return mixed_breaks(lines())

    def explain(self, ask: PriceAsk, line: int) -> dict[str, object]:
        """The explanation of one line (P12): JSON-able, decimals and instants as text; raises as `price` does.

        A caller without the service-desk right who may not see the item gets what an unknown item gets.
        """
        resolution = self._resolve(ask, line, self._policy, self._mixed(ask))
        if resolution.status == LineStatus.NOT_ENTITLED and not ask.service_desk:
            resolution = Resolution(LineStatus.UNKNOWN_ITEM, resolution.currency)
        return explanation(self._question(ask, line), resolution)

    def limited_to(self, customers: NDArray[np.int64]) -> "PriceEngine":
        """This engine for a caller who may ask for these customers alone (sorted ordinals): it does not know any other.

        It shares the arrays.
        """
        matrix = self._matrix
        names = LimitedNames(matrix.customer_bytes, matrix.customer_offsets, customers)
        limited = copy.copy(self)
        limited._names = {**self._names, "customer": names}  # noqa: SLF001 -- its own
        limited._decoder = self._decoder.with_names(limited._names)  # noqa: SLF001
        slots = limited_slots(matrix.customer_bytes, matrix.customer_offsets, customers)
        limited._matrix = matrix._replace(customer_slots=slots)  # noqa: SLF001
        limited._descriptor = describe(limited._matrix)  # noqa: SLF001
        return limited

    def below(self, customer_ids: Iterable[str]) -> NDArray[np.int64]:
        """The ordinals (sorted) of those of some customers that the snapshot knows, and of all below them."""
        return customers_below(self._matrix, self.ordinals("customer", frozenset(customer_ids)))

    def customer_id(self, customer: int) -> str:
        """A customer's id by ordinal."""
        return self._names["customer"][customer]

    def knows(self, customer_id: str) -> bool:
        """Whether there is such a customer."""
        return self._names["customer"].find(customer_id) >= 0

    def book_id(self, book: int) -> str:
        """A book's id by its ordinal in an answer."""
        return self._names["book"][book]

    def currencies(self) -> list[str]:
        """Every currency that the snapshot knows, by ordinal."""
        return list(self._currency_names)

    def a_sku(self) -> str:
        """The SKU of some item, '' where there is none."""
        return self._names["sku"][0] if len(self._names["sku"]) else ""

    def branch(self, branch: int) -> str:
        """A branch's name by its ordinal in a customer's row."""
        return self._names["branch"][branch]

    def base_uom(self, sku: str) -> str:
        """The base unit of an item, '' for no such item."""
        item = self._names["sku"].find(sku)
        return self._names["uom"][item_base_uom(self._matrix.items[item, ITEM_NAMES])] if item >= 0 else ""

    def unit_factor(self, sku: str, uom: str) -> Fraction | None:
        """Base units in one unit of an item; None where it has no such unit."""
        if uom == self.base_uom(sku):
            return Fraction(1)
        return self._decoder.price_data("", sku).uoms.get((sku, uom))

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
            _text(ask.skus[line]),
            int(ask.quantities_micros[line]),
            ask.line_as_of_us(line),
            _text(ask.uoms[line]),
            ask.currency,
            ask.branch,
        )

    def _resolve(
        self, ask: PriceAsk, line: int, policy: ExceptionPolicy, mixed: Mapping[tuple[str, bool], Mixed]
    ) -> Resolution:
        own = {key: each for key, each in mixed.items() if line in each.lines}
        question = replace(self._question(ask, line), mixed=own)
        data = self._decoder.price_data(question.customer_id, question.sku)
        return resolve(data, question, policy)

    def _resolve_exactly(
        self,
        ask: PriceAsk,
        line: int,
        answer: NDArray[np.int64],
        mixed: Mapping[tuple[str, bool], Mixed],
    ) -> Mixed | None:
        """Write one answer from the reference; returns what counted for its breaks."""
        resolution = self._resolve(ask, line, replace(self._policy, flagged_skus=frozenset()), mixed)
        if resolution.status == LineStatus.NOT_ENTITLED and not ask.service_desk:
            resolution = Resolution(LineStatus.UNKNOWN_ITEM, resolution.currency)
        offer = resolution.offer
        answer[kn.ANSWER_STATUS] = resolution.status
        answer[kn.ANSWER_EXCEPTION] = resolution.exception
        answer[kn.ANSWER_UNIT_PRICE] = resolution.unit_price_micros
        answer[kn.ANSWER_PRICE_PER] = resolution.price_per
        answer[kn.ANSWER_EXTENDED_PRICE] = resolution.extended_price_micros
        answer[kn.ANSWER_MINIMUM] = resolution.minimum_quantity_micros
        answer[kn.ANSWER_VALID_UNTIL] = resolution.valid_until_us
        answer[kn.ANSWER_BOOK] = self._names["book"].find(offer.book.book_id) if offer else -1
        answer[kn.ANSWER_LAYER] = self._decoder.layer_ordinal(resolution.layer) if offer else -1
        answer[kn.ANSWER_ENTRY] = offer.entry.ordinal if offer else -1
        answer[kn.ANSWER_LIFTED] = offer.lifted if offer else 0
        answer[kn.ANSWER_CONVERTED] = resolution.converted
        return resolution.mixed

    def _flag_skus(self, ask: PriceAsk, answers: NDArray[np.int64]) -> None:
        """Mark the items that the policy flags."""
        flagged = np.fromiter(map(self._policy.flagged_skus.__contains__, map(_text, ask.skus)), bool)
        mark_flagged(answers, flagged)


def mark_flagged(answers: NDArray[np.int64], flagged: NDArray[np.bool_]) -> None:
    """Mark the flagged lines that have an answer and no other reason, in place: FLAGGED is the last of them (P13).

    `answers` (lines, 13) int64 as the kernel writes them, `flagged` (lines,).
    """
    answered = np.isin(answers[:, kn.ANSWER_STATUS], _ANSWERED)
    unmarked = answers[:, kn.ANSWER_EXCEPTION] == ExceptionReason.NONE
    answers[flagged & answered & unmarked, kn.ANSWER_EXCEPTION] = ExceptionReason.FLAGGED


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
