"""The price rules, one line at a time, in exact fractions: the reference that every kernel must equal.

`resolve` goes through the customer's stack layer by layer (P1). In a layer `candidates` gives the offers of each book
(P4, P5); the layer's mode and ladder then select one of them (P2, P6), whose book has rounded once (P9). What was
considered and why it lost is kept: it is the explanation (P12).

Where the rules are silent: `lowest` and `highest` compare exact prices before rounding; an entry without a price there
might have been the lowest or highest, so that it would have answered (P13).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

from pricegrid.pricing_engine.errors import CurrencyRequiredError, InvalidCurrencyError, UnknownCustomerError
from pricegrid.pricing_engine.model import (
    INT64_MAX,
    NEVER_US,
    Book,
    ExceptionPolicy,
    ExceptionReason,
    Ladder,
    Layer,
    LineStatus,
    Mode,
    PriceData,
    PriceQuestion,
)
from pricegrid.pricing_engine.rules.asked import line_of
from pricegrid.pricing_engine.rules.audience import customer_stack
from pricegrid.pricing_engine.rules.candidates import Line, offers_of
from pricegrid.pricing_engine.rules.exceptions import with_exception
from pricegrid.pricing_engine.rules.money import convert, extended_price_micros, extended_total_micros
from pricegrid.pricing_engine.rules.resolution import (
    Blocked,
    Considered,
    Missed,
    Offer,
    Rank,
    Resolution,
)
from pricegrid.pricing_engine.rules.surcharges import Surcharges, surcharged, surcharges_of

ENDED = "the line ended below a minimum in an earlier layer"


def asked_currency(data: PriceData, question: PriceQuestion) -> str:
    """The currency of the answer; raises the errors of a whole request (`pricing_engine.errors`)."""
    if question.customer_id and question.customer_id not in data.customers:
        raise UnknownCustomerError(question.customer_id)
    currency = question.currency
    if not currency:
        if not question.customer_id:
            raise CurrencyRequiredError
        return data.customers[question.customer_id].currency
    if not (len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()):
        raise InvalidCurrencyError(currency)
    return currency


def resolve(data: PriceData, question: PriceQuestion, policy: ExceptionPolicy | None = None) -> Resolution:
    """The answer to one line with its explanation, `valid_until` and exception included (P1-P14, P16-P20)."""
    now = _resolve_at(data, question)
    until = NEVER_US
    for instant in _boundaries(data, question):
        if _resolve_at(data, replace(question, as_of_us=instant)).identity != now.identity:
            until = instant
            break
    return with_exception(replace(now, valid_until_us=until), data, question, policy or ExceptionPolicy())


def _boundaries(data: PriceData, question: PriceQuestion) -> list[int]:
    """Every instant after the question's at which something about the line begins or ends."""
    instants: set[int] = set()
    for book in data.books.values():
        instants.update((book.valid_from_us, book.valid_to_us))
    for agreements in data.agreements.values():
        for agreement in agreements:
            instants.update((agreement.valid_from_us, agreement.valid_to_us))
    for entries in data.entries.values():
        for entry in entries:
            instants.update((entry.valid_from_us, entry.valid_to_us))
    instants.update(cost.valid_from_us for cost in data.costs.get(question.sku, ()))
    instants.update(rate.valid_from_us for rate in data.rates)
    return sorted(i for i in instants if question.as_of_us < i < NEVER_US)


def _resolve_at(data: PriceData, question: PriceQuestion) -> Resolution:
    currency = asked_currency(data, question)
    line = line_of(data, question, currency)
    return (
        Resolution(line, currency) if isinstance(line, LineStatus) else _price(line, question.quantity_micros)
    )


def _price(line: Line, quantity_micros: int) -> Resolution:
    """Search the layers in order; the first that gives a price answers (P1)."""
    considered: list[Considered] = []
    missing: list[Missed] = []
    winner: Offer | None = None
    layer_name = ""
    blocked: Blocked | None = None
    stack = customer_stack(line.data, line.customer, line.as_of_us)
    layers = sorted(line.data.layers.values(), key=lambda each: (each.rank, each.name))
    for layer in layers:
        if layer.mode == Mode.ADD:
            continue
        if winner or blocked:
            considered += [
                Considered(
                    layer.name, book_id, stack[book_id][0], "an earlier layer answered" if winner else ENDED
                )
                for book_id in sorted(stack)
                if line.data.books[book_id].layer == layer.name
            ]
            continue
        found, missed, notes = _select_offer(line, layer, stack)
        winner, blocked = found.answer, found.stop
        missing += missed
        considered += notes
        layer_name = layer.name if winner else ""
    added = surcharges_of(line, layers, stack, is_priced=winner is not None)
    considered += added.considered
    reason = _missed_reason(missing, winner, added)
    if winner is None:
        minimum = blocked.minimum_quantity_micros if blocked else min(line.minimums, default=0)
        status = LineStatus.BELOW_MINIMUM if blocked or line.minimums else LineStatus.NO_PRICE
        return Resolution(
            status,
            line.currency,
            minimum_quantity_micros=minimum,
            considered=tuple(considered),
            missed=reason,
        )
    winner = surcharged(line, winner, added)
    extended = extended_price_micros(winner.rounded_micros, quantity_micros, line.currency, winner.price_per)
    if winner.slices:
        sliced = sum((each.quantity_micros for each in winner.slices), Fraction(0))
        total = winner.total_micros * abs(quantity_micros) / sliced  # the line's part of what counts with it
        extended = extended_total_micros(total, quantity_micros, line.currency)
    if winner.rounded_micros > INT64_MAX or abs(extended) > INT64_MAX:
        return Resolution(LineStatus.OUT_OF_RANGE, line.currency, considered=tuple(considered))
    return Resolution(
        LineStatus.OK,
        line.currency,
        winner.rounded_micros,
        extended,
        winner,
        layer_name,
        converted=winner.book.currency != line.currency,
        considered=tuple(considered),
        missed=reason,
        mixed=line.mixed_of(winner.book),
    )


def _missed_reason(missing: list[Missed], winner: Offer | None, added: Surcharges) -> ExceptionReason:
    """The exception of the entries that would have answered: a missing input before a price of zero."""
    reasons = {each.exception for each in missing}
    if added.is_input_missed or (winner is not None and winner.is_basis_missed):
        reasons.add(ExceptionReason.MISSING_INPUT)
    return min(reasons, default=ExceptionReason.NONE)


# -- one layer ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Selection:
    """The offers of the books of one currency rank (P3), and which of them is selected."""

    offers: list[Offer] = field(default_factory=list)
    missed: list[Missed] = field(default_factory=list)
    blocks: list[Blocked] = field(default_factory=list)
    answer: Offer | None = None
    stop: Blocked | None = None


def _select_offer(
    line: Line, layer: Layer, stack: dict[str, tuple[int, int]]
) -> tuple[_Selection, list[Missed], list[Considered]]:
    """The layer's answer or the `no_price` book that ends the line, the entries that would have answered, and what was
    considered (P2, P3, P6)."""
    notes: list[Considered] = []
    missed: list[Missed] = []
    books = [line.data.books[b] for b in sorted(stack) if line.data.books[b].layer == layer.name]
    found = _Selection()
    for asked in (True, False):
        of_rank = [b for b in books if (b.currency == line.currency) == asked]
        if found.answer or found.stop:
            notes += [
                Considered(layer.name, b.book_id, stack[b.book_id][0], "its currency would need conversion")
                for b in of_rank
            ]
            continue
        found = _Selection()
        for book in of_rank:
            why = _collect_offers(line, layer, book, stack[book.book_id], found)
            if why:
                notes.append(Considered(layer.name, book.book_id, stack[book.book_id][0], why))
        _select(layer, found)
        missed += [each for each in found.missed if _would_answer(layer, each, found)]
        notes += _offer_notes(layer, found, stack)
    return found, missed, notes


def _collect_offers(
    line: Line, layer: Layer, book: Book, ranks_by: tuple[int, int], found: _Selection
) -> str:
    """Add the offers of a book with their ranks (P2); returns why it has none, '' where it has."""
    if not book.valid_from_us <= line.as_of_us < book.valid_to_us:
        return "the book is not valid at this time"
    minimums = list(line.minimums)
    outcome = offers_of(line, layer, book)
    if convert(line.data, Fraction(0), book.currency, line.currency, line.as_of_us) is None:
        line.minimums = minimums  # it has no price at any quantity
        outcome = replace(outcome, blocked=None)
        words = f"no exchange rate from {book.currency} to {line.currency}"
    else:
        words = "; ".join(outcome.passed_over) or "no entry for this item, class, unit and time"
    found.offers += [replace(each, rank=_rank(layer, ranks_by, each)) for each in outcome.offers]
    found.missed += [replace(each, rank=_rank(layer, ranks_by, each)) for each in outcome.missed]
    if outcome.blocked:
        found.blocks.append(replace(outcome.blocked, rank=_rank(layer, ranks_by, outcome.blocked)))
        return "below its first break, says no price"
    return "" if outcome.offers else words


def _rank(layer: Layer, ranks_by: tuple[int, int], each: Offer | Missed | Blocked) -> Rank:
    """The rank in the order of candidates (P2)."""
    specificity = (each.level, *each.narrowness, int(each.form))
    if layer.mode == Mode.NEWEST:
        return (-each.newest_us, *ranks_by, *specificity, each.book.book_id)
    return (*ranks_by, *specificity, -each.newest_us, each.book.book_id)


def _select(layer: Layer, found: _Selection) -> None:
    """P2 and P6: one offer of several, unless a book that ranks before all of them ends the line without a price."""
    first = min((o.rank for o in found.offers), default=None)
    block = min(found.blocks, key=lambda b: b.rank, default=None)
    if block and (first is None or block.rank < first):
        found.stop = block
        return
    sign = {Mode.LOWEST: 1, Mode.HIGHEST: -1}.get(layer.mode, 0)

    def order(offer: Offer) -> tuple[Fraction, Fraction, Rank]:
        slot = -offer.slot_micros if layer.ladder == Ladder.MERGE else Fraction(0)
        return slot, offer.price_micros * sign, offer.rank

    found.answer = min(found.offers, key=order, default=None)


def _would_answer(layer: Layer, missed: Missed, found: _Selection) -> bool:
    """Whether an entry, had it given a price, would have been the answer, or might have been (P13)."""
    if found.stop:
        return missed.rank < found.stop.rank
    answer = found.answer
    if answer is None or layer.mode in (Mode.LOWEST, Mode.HIGHEST):
        return True
    if layer.ladder == Ladder.MERGE and missed.slot_micros != answer.slot_micros:
        return missed.slot_micros > answer.slot_micros
    return missed.rank <= answer.rank


def _offer_notes(layer: Layer, found: _Selection, stack: dict[str, tuple[int, int]]) -> Iterator[Considered]:
    for offer in found.offers:
        reason = "answers" if offer is found.answer else _why_lost(layer, offer, found.answer)
        if offer.passed_over:
            reason += f"; before it: {'; '.join(offer.passed_over)}"
        distance = stack[offer.book.book_id][0]
        yield Considered(layer.name, offer.book.book_id, distance, reason, offer, offer is found.answer)


_CRITERIA = ("hierarchy distance", "agreement priority", "item level", "price class", "branch", "unit form")


def _why_lost(layer: Layer, offer: Offer, answer: Offer | None) -> str:
    if answer is None:
        return "a book before it says no price below its first break"
    if layer.ladder == Ladder.MERGE and offer.slot_micros < answer.slot_micros:
        return "a higher break answers"
    if layer.mode == Mode.LOWEST and offer.price_micros > answer.price_micros:
        return "a lower price answers"
    if layer.mode == Mode.HIGHEST and offer.price_micros < answer.price_micros:
        return "a higher price answers"
    criteria = (*_CRITERIA, "newest", "book_id")
    if layer.mode == Mode.NEWEST:
        criteria = ("newest", *_CRITERIA, "book_id")
    for criterion, mine, winners in zip(criteria, offer.rank, answer.rank, strict=True):
        if mine != winners:
            return f"ranks lower by {criterion}"
    return "begins earlier, or ends later"
