"""The price rules, one line at a time, in exact fractions: slow, plain, and what every faster form must equal.

`resolve` walks the customer's stack layer by layer (P1). In a layer each book makes at most one offer per unit form
(P4, P5): its most specific *tier* of entries, the highest break at or below the quantity. The layer's mode and ladder
then settle the offers (P2, P6), and the answering book rounds once (P9). What was considered and why it lost is kept,
so that the same walk is the explanation (P12).

Where the rules are silent: an entry that cannot give a price (no cost, basis price or exchange rate; zero without
`explicit_zero`) is as if it were not there; `lowest` and `highest` compare exact prices before rounding.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

from pricing_engine.audience import (
    customer_stack,
    entry_level,
    is_entitled,
    item_levels,
)
from pricing_engine.errors import CurrencyRequiredError, InvalidCurrencyError, UnknownCustomerError
from pricing_engine.exceptions import with_exception
from pricing_engine.model import (
    BASIS_LINKS_MAX,
    COST,
    INT64_MAX,
    NEVER_US,
    BelowMinimum,
    Book,
    Cost,
    Customer,
    Entry,
    ExceptionPolicy,
    Form,
    Item,
    Ladder,
    Layer,
    LineStatus,
    Method,
    Mode,
    PriceData,
    PriceQuestion,
)
from pricing_engine.money import convert, extended_price_micros, method_ratio, round_price
from pricing_engine.resolution import Blocked, Considered, Offer, Rank, Resolution, Step

NO_PRICE_MADE = "has no cost, basis price or rate, or is zero without explicit_zero"
ENDED = "the line ended below a minimum in an earlier layer"


@dataclass(slots=True)
class _Line:
    """A question with its names looked up, and what the walk notes on its way."""

    data: PriceData
    item: Item
    quantity_micros: int
    uom: str
    factor: Fraction
    customer: Customer | None
    branch: str
    currency: str
    as_of_us: int
    levels: tuple[tuple[str, str], ...]
    minimums: list[int] = field(default_factory=list)

    @property
    def price_class(self) -> str | None:
        return self.customer.price_class if self.customer else None


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
    """The answer to one line with its explanation, `valid_until` and exception included (P1-P13)."""
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
    quantity = question.quantity_micros
    if quantity == 0 or abs(quantity) > INT64_MAX:
        return Resolution(LineStatus.INVALID_QUANTITY, currency)
    item = data.items.get(question.sku)
    if item is None:
        return Resolution(LineStatus.UNKNOWN_ITEM, currency)
    customer = data.customers.get(question.customer_id)
    levels = tuple(item_levels(data, item))
    if not is_entitled(data, customer, levels):
        return Resolution(LineStatus.NOT_ENTITLED, currency)
    uom = question.uom or item.base_uom
    factor = Fraction(1) if uom == item.base_uom else data.uoms.get((item.sku, uom))
    if factor is None:
        return Resolution(LineStatus.UNKNOWN_UOM, currency)
    line = _Line(
        data, item, abs(quantity), uom, factor, customer, question.branch, currency, question.as_of_us, levels
    )
    return _price(line, quantity)


def _price(line: _Line, quantity_micros: int) -> Resolution:
    """Search the layers in order; the first that gives a price answers (P1)."""
    considered: list[Considered] = []
    winner: Offer | None = None
    layer_name = ""
    blocked: Blocked | None = None
    stack = customer_stack(line.data, line.customer, line.as_of_us)
    for layer in sorted(line.data.layers.values(), key=lambda each: (each.rank, each.name)):
        if winner or blocked:
            considered += [
                Considered(
                    layer.name, book_id, stack[book_id][0], "an earlier layer answered" if winner else ENDED
                )
                for book_id in sorted(stack)
                if line.data.books[book_id].layer == layer.name
            ]
            continue
        winner, blocked, notes = _settle_layer(line, layer, stack)
        considered += notes
        layer_name = layer.name if winner else ""
    if winner is None:
        minimum = blocked.minimum_quantity_micros if blocked else min(line.minimums, default=0)
        status = LineStatus.BELOW_MINIMUM if blocked or line.minimums else LineStatus.NO_PRICE
        return Resolution(
            status, line.currency, minimum_quantity_micros=minimum, considered=tuple(considered)
        )
    extended = extended_price_micros(winner.rounded_micros, quantity_micros, line.currency)
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
    )


# -- one layer ------------------------------------------------------------------------------------------------------


def _settle_layer(
    line: _Line, layer: Layer, stack: dict[str, tuple[int, int]]
) -> tuple[Offer | None, Blocked | None, list[Considered]]:
    """The layer's answer, or the `no_price` book that ends the line, and what was considered (P2, P3, P6)."""
    notes: list[Considered] = []
    books = [line.data.books[b] for b in sorted(stack) if line.data.books[b].layer == layer.name]
    answer: Offer | None = None
    stop: Blocked | None = None
    for asked in (True, False):
        standing = [b for b in books if (b.currency == line.currency) == asked]
        if answer or stop:
            notes += [
                Considered(layer.name, b.book_id, stack[b.book_id][0], "its currency would need conversion")
                for b in standing
            ]
            continue
        offers: list[Offer] = []
        blocks: list[Blocked] = []
        for book in standing:
            distance = stack[book.book_id][0]
            for result in _book_results(line, layer.mode, book, stack[book.book_id]):
                if isinstance(result, Offer):
                    offers.append(result)
                elif isinstance(result, Blocked):
                    blocks.append(result)
                    notes.append(
                        Considered(layer.name, book.book_id, distance, "below its first break, says no price")
                    )
                else:
                    notes.append(Considered(layer.name, book.book_id, distance, result))
        first = min(offers, key=lambda o: o.rank, default=None)
        block = min(blocks, key=lambda b: b.rank, default=None)
        if block and (first is None or block.rank < first.rank):
            stop = block
        elif first:
            answer = _settle_offers(layer, offers, first)
        for offer in offers:
            reason = "answers" if offer is answer else _why_lost(layer, offer, answer)
            if offer.passed_over:
                reason += f"; before it: {'; '.join(offer.passed_over)}"
            notes.append(
                Considered(
                    layer.name,
                    offer.book.book_id,
                    stack[offer.book.book_id][0],
                    reason,
                    offer,
                    offer is answer,
                )
            )
    return answer, stop, notes


def _settle_offers(layer: Layer, offers: list[Offer], first: Offer) -> Offer:
    """P2 and P6: one offer of several. `first` is the best by the layer's order of candidates."""
    lowest_price = layer.mode in (Mode.LOWEST, Mode.HIGHEST)

    def order(offer: Offer) -> tuple[Fraction, Rank]:
        sign = {Mode.LOWEST: 1, Mode.HIGHEST: -1}.get(layer.mode, 0)
        return offer.price_micros * sign, offer.rank

    if layer.ladder == Ladder.OWNER:
        return min(offers, key=order)
    best_of_form: list[Offer] = []
    for form in Form:
        pool = [o for o in offers if o.form == form]
        if pool:
            slot = max(o.slot_micros for o in pool)
            best_of_form.append(min((o for o in pool if o.slot_micros == slot), key=order))
    if lowest_price:
        return min(best_of_form, key=order)
    return next(o for o in best_of_form if o.form == first.form)


def _why_lost(layer: Layer, offer: Offer, answer: Offer | None) -> str:
    if answer is None:
        return "a book before it says no price below its first break"
    if layer.ladder == Ladder.MERGE and offer.form == answer.form and offer.slot_micros < answer.slot_micros:
        return "a higher break of another book answers"
    if layer.mode == Mode.LOWEST and offer.price_micros > answer.price_micros:
        return "a lower price answers"
    if layer.mode == Mode.HIGHEST and offer.price_micros < answer.price_micros:
        return "a higher price answers"
    criteria = [
        "hierarchy distance",
        "agreement priority",
        "item level",
        "price class",
        "unit form",
        "newest",
        "book_id",
    ]
    if layer.mode == Mode.NEWEST:
        criteria = ["newest", *criteria[:5], "book_id"]
    for criterion, mine, winners in zip(criteria, offer.rank, answer.rank, strict=True):
        if mine != winners:
            return f"ranks lower by {criterion}"
    return "its other unit form answers"


def _book_results(
    line: _Line, mode: Mode, book: Book, place: tuple[int, int]
) -> Iterator[Offer | Blocked | str]:
    """A book's offers to a layer: one, or one per unit form in `lowest` and `highest` (P5); text says why none."""
    if not book.valid_from_us <= line.as_of_us < book.valid_to_us:
        yield "the book is not valid at this time"
        return
    if convert(line.data, Fraction(0), book.currency, line.currency, line.as_of_us) is None:
        yield f"no exchange rate from {book.currency} to {line.currency}"
        return
    both = mode in (Mode.LOWEST, Mode.HIGHEST)
    for forms in ((Form.EXACT,), (Form.BASE,)) if both else ((Form.EXACT, Form.BASE),):
        result = _book_offer(line, book, forms, 0)
        if isinstance(result, Offer | Blocked):
            class_rank = result.class_rank if isinstance(result, Blocked) else _class_rank(result.entry)
            specificity = (result.level, class_rank, int(result.form))
            rank: Rank = (*place, *specificity, -result.newest_us, book.book_id)
            if mode == Mode.NEWEST:
                rank = (-result.newest_us, *place, *specificity, book.book_id)
            yield replace(result, rank=rank)
        else:
            yield result


def _class_rank(entry: Entry) -> int:
    return 0 if entry.price_class else 1


# -- one book -------------------------------------------------------------------------------------------------------


def _book_offer(line: _Line, book: Book, forms: tuple[Form, ...], links: int) -> Offer | Blocked | str:
    """The most specific tier of the book that gives a price (P4-P6); `links` is the depth in a basis chain (P7)."""
    passed_over: list[str] = []
    for level, class_rank, form, newest_us, tier in _tiers(line, book, forms):
        quantity = Fraction(line.quantity_micros) * (line.factor if form == Form.BASE else 1)
        reached = [e for e in tier if e.min_quantity_micros <= quantity]
        slots = {e: e.min_quantity_micros for e in reached}
        if not reached:
            lowest = tier[-1].min_quantity_micros
            per_asked = line.factor if form == Form.BASE else Fraction(1)
            minimum = min(INT64_MAX, -((-lowest * per_asked.denominator) // per_asked.numerator))
            line.minimums.append(minimum)
            passed_over.append("the quantity is below its first break")
            if book.below_minimum == BelowMinimum.NO_PRICE:
                return Blocked(book, level, class_rank, form, newest_us, minimum)
            if book.below_minimum == BelowMinimum.FALL_THROUGH:
                continue
            first = min(e.min_quantity_micros for e in tier)
            reached = [e for e in tier if e.min_quantity_micros == first]
            slots = dict.fromkeys(reached, -1)
        for entry in reached:
            made = _evaluate(line, book, entry, form, links)
            if made is None:
                passed_over.append(
                    f"{_named(entry)} has no cost, basis price or rate, or is zero without explicit_zero"
                )
                continue
            steps, lifted = made
            price = steps[-1].price_micros
            rounded = round_price(price, book, lifted)
            if links == 0 and rounded == 0 and not entry.explicit_zero:
                passed_over.append(f"{_named(entry)} rounds to zero without explicit_zero")
                continue
            skipped = tuple(dict.fromkeys(passed_over))
            return Offer(
                book, entry, form, level, newest_us, slots[entry], price, rounded, lifted, steps, skipped
            )
    return "; ".join(dict.fromkeys(passed_over)) or "no entry for this item, class, unit and time"


def _named(entry: Entry) -> str:
    return f"{entry.method.name.lower()} of {entry.sku or entry.product_group or 'every item'}"


def _tiers(
    line: _Line, book: Book, forms: tuple[Form, ...]
) -> Iterator[tuple[int, int, Form, int, list[Entry]]]:
    """Entries of equal specificity (P4), most specific first; in each, the highest break first.

    Entries of one break and tier that differ only in validity are settled by the later start, then the earlier end.
    """
    tiers: dict[tuple[int, int, Form, int], list[Entry]] = {}
    for entry in line.data.entries.get(book.book_id, ()):
        target = entry_level(entry)
        form = Form.EXACT if entry.uom else Form.BASE
        if (
            target not in line.levels
            or form not in forms
            or (entry.uom and entry.uom != line.uom)
            or (entry.price_class and entry.price_class != line.price_class)
            or not entry.valid_from_us <= line.as_of_us < entry.valid_to_us
        ):
            continue
        newest_us = max(entry.valid_from_us, book.valid_from_us)
        key = (line.levels.index(target), _class_rank(entry), form, -newest_us)
        tiers.setdefault(key, []).append(entry)
    for key in sorted(tiers):
        level, class_rank, form, minus_newest = key
        tier = sorted(tiers[key], key=lambda e: (-e.min_quantity_micros, -e.valid_from_us, e.valid_to_us))
        yield level, class_rank, form, -minus_newest, tier


def _evaluate(
    line: _Line, book: Book, entry: Entry, form: Form, links: int
) -> tuple[tuple[Step, ...], bool] | None:
    """The entry's exact price for one asked unit in the asked currency with its steps, and whether the floor lifted it.

    A basis link stays in its book's currency. None: the entry cannot give a price.
    """
    data = line.data
    steps: list[Step] = []
    price: Fraction | None
    if entry.method == Method.NET:
        price = Fraction(entry.value_micros)
        steps.append(Step("entry", "net", price, price, book.currency))
        if form == Form.BASE and line.factor != 1:
            price *= line.factor
            steps.append(Step("factor", f"one {line.uom}", line.factor, price, book.currency))
    else:
        found = _basis_price(line, book, entry, links)
        if found is None:
            return None
        steps += found
        ratio = method_ratio(entry.method, entry.value_micros)
        price = steps[-1].price_micros * ratio
        steps.append(Step("method", entry.method.name.lower(), ratio, price, book.currency))
    lifted = False
    if entry.method != Method.NET and book.floor_margin is not None:
        cost = _cost_in(line, book.currency)
        if cost is not None and price < cost / (1 - book.floor_margin):
            price = cost / (1 - book.floor_margin)
            lifted = True
            steps.append(Step("floor", f"margin {book.floor_margin}", price, price, book.currency))
    if price == 0 and not entry.explicit_zero:
        return None
    if links == 0 and book.currency != line.currency:
        price = convert(data, price, book.currency, line.currency, line.as_of_us)
        if price is None:
            return None
        steps.append(_conversion_step(line, book.currency, line.currency, price))
    return tuple(steps), lifted


def _basis_price(line: _Line, book: Book, entry: Entry, links: int) -> list[Step] | None:
    """The price an entry's method applies to, in the book's currency: a cost, or another book's exact price (P7)."""
    if entry.basis == COST:
        price = _cost_in(line, book.currency)
        return None if price is None else [Step("cost", "per asked unit", price, price, book.currency)]
    basis = line.data.books[entry.basis] if entry.basis else None
    if (
        basis is None
        or links == BASIS_LINKS_MAX
        or not basis.valid_from_us <= line.as_of_us < basis.valid_to_us
    ):
        return None
    offer = _book_offer(line, basis, (Form.EXACT, Form.BASE), links + 1)
    if not isinstance(offer, Offer):
        return None
    converted = convert(line.data, offer.price_micros, basis.currency, book.currency, line.as_of_us)
    if converted is None:
        return None
    steps = [
        *offer.steps,
        Step("basis", basis.book_id, offer.price_micros, offer.price_micros, basis.currency),
    ]
    if basis.currency != book.currency:
        steps.append(_conversion_step(line, basis.currency, book.currency, converted))
    return steps


# -- costs and steps ------------------------------------------------------------------------------------


def _cost_in(line: _Line, currency: str) -> Fraction | None:
    """The item's cost for one asked unit in `currency`: the request's branch, else the customer's, else no branch."""
    rows = [c for c in line.data.costs.get(line.item.sku, ()) if c.valid_from_us <= line.as_of_us]
    for branch in (line.branch, line.customer.branch if line.customer else None, None):
        if branch == "":
            continue
        of_branch: list[Cost] = [c for c in rows if c.branch == branch]
        if of_branch:
            newest = max(of_branch, key=lambda c: c.valid_from_us)
            cost = Fraction(newest.cost_micros) * line.factor
            return convert(line.data, cost, newest.currency, currency, line.as_of_us)
    return None


def _conversion_step(line: _Line, source: str, target: str, price: Fraction) -> Step:
    rate = convert(line.data, Fraction(1), source, target, line.as_of_us)
    return Step("convert", f"{source} to {target}", Fraction(0) if rate is None else rate, price, target)
