"""What one book offers for one line, in exact fractions: its level, its breaks and windows, its price (P4-P9).

Only the most specific level of a book that has entries in force competes, whatever their unit form; below its first
break, or where none of its entries gives a price, the next level does. The order of its rows:

- `first` and `newest`: the exact unit before the base unit. With `each_break` the highest break reached answers, of the
  newest window that has it; with `replace` the newest window that the quantity reaches does, by itself.
- `lowest` and `highest`: every window answers by its own ladder, in both unit forms, and all of them compete.
- `ladder=merge`: each unit form gives its highest break reached, and the layer puts them on one ladder.

A *window* is all entries that begin together; an entry that begins before its book begins with it.

Where the rules are silent: an entry that can't give a price (no cost, basis price or rate; a computed price of zero
without `explicit_zero`) is passed over, and recorded as `Missed`. A book ranks by the newest of its windows that the
quantity reaches, so that no quantity hands a line from a book to one that ranks lower (P6).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from pricegrid.pricing_engine.model import (
    BASIS_LINKS_MAX,
    CLASSES_MAX,
    COST,
    INT64_MAX,
    MICROS,
    BelowMinimum,
    Book,
    BreakMode,
    BreakOn,
    Cost,
    Customer,
    Entry,
    ExceptionReason,
    Form,
    Item,
    Ladder,
    Layer,
    Method,
    Mixed,
    Mode,
    PriceData,
    Windows,
)
from pricegrid.pricing_engine.rules.audience import entry_level
from pricegrid.pricing_engine.rules.money import convert, method_ratio, round_price
from pricegrid.pricing_engine.rules.resolution import Blocked, Missed, Narrowness, Offer, Slice, Step
from pricegrid.pricing_engine.rules.slices import graduated, slice_quantities

SURCHARGES = frozenset({Method.SURCHARGE_PCT, Method.SURCHARGE_AMOUNT})
AS_BASIS = Layer("", 0)
"""A basis book is priced as if it were alone in a layer of mode `first` (P7)."""


@dataclass(slots=True)
class Line:
    """A question with its names looked up; `minimums` collects first breaks that the quantity does not reach."""

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
    classes: tuple[str, ...]
    """The customer's price classes in order (P18)."""
    mixed: Mapping[str, Mixed] = field(default_factory=dict)
    """What the line counts with for breaks, by break group (P19)."""
    break_group: str | None = None
    """The item's."""
    minimums: list[int] = field(default_factory=list)

    @property
    def price_branch(self) -> str | None:
        """The branch whose prices hold: the request's, else the customer's (P17)."""
        return self.branch or (self.customer.branch if self.customer else None)

    def mixed_of(self, book: Book) -> Mixed | None:
        """The lines that count together for the breaks of a book, with this one; None: this one alone (P19)."""
        group = book.break_group or self.break_group
        return self.mixed.get(group) if group and book.break_on == BreakOn.QUANTITY else None

    def break_quantity(self, book: Book) -> Fraction:
        """The quantity that the breaks of a book are compared with, in the asked unit."""
        mixed = self.mixed_of(book)
        return mixed.quantity_micros / self.factor if mixed else Fraction(self.quantity_micros)


@dataclass(frozen=True, slots=True)
class BookOffers:
    """The offers of a book, all of one level, or what ends the line; and the entries before them that gave no price."""

    offers: tuple[Offer, ...] = ()
    missed: tuple[Missed, ...] = ()
    blocked: Blocked | None = None
    passed_over: tuple[str, ...] = ()
    is_below: bool = False
    """Whether the quantity was below a first break, its own or that of a basis."""


@dataclass(frozen=True, slots=True)
class _Row:
    """An entry in force at the line's level, with its break in the asked unit."""

    entry: Entry
    form: Form
    newest_us: int
    slot_micros: Fraction
    is_reached: bool


class _NoPriceError(Exception):
    """Why an entry gives no price; the exception is NONE where its basis has one from a larger quantity on."""

    def __init__(self, exception: ExceptionReason, why: str) -> None:
        super().__init__(why)
        self.exception = exception
        self.why = why


def _narrowness(line: Line, entry: Entry) -> Narrowness:
    """How an entry ranks inside its item level: by price class, then by branch (P4, P17, P18)."""
    price_class = line.classes.index(entry.price_class) if entry.price_class else CLASSES_MAX
    return price_class, 0 if entry.branch else 1


@dataclass(slots=True)
class _PassedOver:
    """The entries of a book that gave no price so far."""

    missed: list[Missed] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    is_below: bool = False

    def with_offers(self, offers: list[Offer], blocked: Blocked | None = None) -> BookOffers:
        """The outcome of the book."""
        return BookOffers(
            tuple(offers), tuple(self.missed), blocked, tuple(dict.fromkeys(self.words)), self.is_below
        )


def offers_of(line: Line, layer: Layer, book: Book, links: int = 0) -> BookOffers:
    """The offers of the book's most specific level that gives a price; `links` is the depth in a basis chain (P7)."""
    passed = _PassedOver()
    for level, narrow, rows in levels_of(line, book, links):
        reached = [row for row in rows if row.is_reached]
        if not reached:
            lowest = min(row.slot_micros for row in rows)
            minimum = min(INT64_MAX, -(-lowest.numerator // lowest.denominator))
            line.minimums.append(minimum)
            passed.words.append("the quantity is below its first break")
            passed.is_below = True
            if book.below_minimum == BelowMinimum.NO_PRICE:
                form, older = min((row.form, -row.newest_us) for row in rows)
                return passed.with_offers([], Blocked(book, level, narrow, form, -older, minimum))
            if book.below_minimum == BelowMinimum.FALL_THROUGH:
                continue
            reached = [row for row in rows if row.slot_micros == lowest]
        offers: list[Offer] = []
        newest = _newest_reached(layer, book, rows)
        for part in _parts(layer, book, reached):
            offers += _part_offers(line, layer, book, (level, newest, links), part, passed)
            if offers and not _competes(layer):
                break
        if offers:
            return passed.with_offers(offers)
    return passed.with_offers([])


def _by_price(layer: Layer) -> bool:
    return layer.mode in (Mode.LOWEST, Mode.HIGHEST)


def _competes(layer: Layer) -> bool:
    """Whether the unit forms of a book compete (P5)."""
    return _by_price(layer) or layer.ladder == Ladder.MERGE


def levels_of(line: Line, book: Book, links: int = 0) -> Iterator[tuple[int, Narrowness, list[_Row]]]:
    """(item level, narrowness, entries in force in a unit form that can answer), most specific first (P4)."""
    levels: dict[tuple[int, Narrowness], list[_Row]] = {}
    quantity = line.break_quantity(book)
    for entry in line.data.entries.get(book.book_id, ()):
        target = entry_level(entry)
        if (
            target not in line.levels
            or (entry.uom and entry.uom != line.uom)
            or (entry.price_class and entry.price_class not in line.classes)
            or (entry.branch and entry.branch != line.price_branch)
            or not entry.valid_from_us <= line.as_of_us < entry.valid_to_us
        ):
            continue
        form = Form.EXACT if entry.uom else Form.BASE
        slot = Fraction(entry.min_quantity_micros) / (line.factor if form == Form.BASE else 1)
        if book.break_on == BreakOn.AMOUNT:
            slot = _quantity_of_amount(line, book, entry, links)
        newest_us = max(entry.valid_from_us, book.valid_from_us)
        row = _Row(entry, form, newest_us, slot, slot <= quantity)
        levels.setdefault((line.levels.index(target), _narrowness(line, entry)), []).append(row)
    for level, narrow in sorted(levels):
        yield level, narrow, levels[level, narrow]


def _quantity_of_amount(line: Line, book: Book, entry: Entry, links: int) -> Fraction:
    """The quantity whose extended price, by the entry's basis at the quantity asked, is the amount of its break (P19).

    0 where the basis has no price: the entry then has none either, and says why.
    """
    if entry.min_quantity_micros == 0:
        return Fraction(0)
    try:
        price = _basis_price(line, book, entry, links)[0][-1].price_micros
    except _NoPriceError:
        return Fraction(0)
    return Fraction(entry.min_quantity_micros) * MICROS / price if price else Fraction(INT64_MAX)


def _parts(layer: Layer, book: Book, rows: list[_Row]) -> Iterator[list[_Row]]:
    """The rows in order of precedence, in parts.

    Each part gives an offer, but in `first` and `newest` with owned ladders only the first part that can.
    """
    whole_windows = not _by_price(layer) and book.windows == Windows.REPLACE

    def order(row: _Row) -> tuple[int, ...]:
        entry = row.entry
        newest, smallest = -row.newest_us, -entry.min_quantity_micros
        first = (newest, smallest) if whole_windows else (smallest, newest)
        return (*first, -entry.valid_from_us, entry.valid_to_us)

    for form in Form:
        of_form = sorted((row for row in rows if row.form == form), key=order)
        if _by_price(layer) and layer.ladder == Ladder.OWNER:
            for newest_us in sorted({row.newest_us for row in of_form}, reverse=True):
                yield [row for row in of_form if row.newest_us == newest_us]
        else:
            yield of_form


def _newest_reached(layer: Layer, book: Book, rows: list[_Row]) -> dict[Form, int]:
    """By unit form, the newest window that the quantity reaches, where a book ranks by that and not by its row."""
    if _competes(layer) or book.windows == Windows.REPLACE:
        return {}
    found: dict[Form, int] = {}
    for row in rows:
        if row.is_reached:
            found[row.form] = max(found.get(row.form, row.newest_us), row.newest_us)
    return found


def _part_offers(
    line: Line,
    layer: Layer,
    book: Book,
    at: tuple[int, dict[Form, int], int],
    part: list[_Row],
    passed: _PassedOver,
) -> Iterator[Offer]:
    """The first row of a part that gives a price; by price, every other of that break too. `at` is the level, the
    newest windows reached and the depth in a basis chain."""
    level, newest, links = at
    priced_break: Fraction | None = None
    for row in part:
        entry = row.entry
        if priced_break is not None and (not _by_price(layer) or row.slot_micros != priced_break):
            return
        slot = row.slot_micros if row.is_reached else Fraction(-1)
        newest_us = newest.get(row.form, row.newest_us)
        try:
            found = _price_of(line, book, entry, row.form, links)
        except _NoPriceError as none:
            why, reason = f"{_described(entry)} {none.why}", none.exception
            passed.words.append(why)
            if reason == ExceptionReason.NONE:
                passed.is_below = True
            else:
                missed = Missed(book, level, _narrowness(line, entry), row.form, newest_us, slot, reason, why)
                passed.missed.append(missed)
            continue
        priced_break = row.slot_micros
        skipped = tuple(dict.fromkeys(passed.words))
        offer = Offer(
            book,
            entry,
            row.form,
            level,
            _narrowness(line, entry),
            newest_us,
            slot,
            found.price_micros,
            found.rounded_micros,
            found.lifted,
            found.steps,
            skipped,
            found.is_basis_missed,
            found.price_per,
        )
        if book.break_mode == BreakMode.GRADUATED and row.is_reached:
            offer = graduated(offer, _slices(line, book, part, row, links))
        yield offer


def _slices(line: Line, book: Book, part: list[_Row], reached: _Row, links: int) -> tuple[Slice, ...]:
    """The slices of a quantity up to the break of the row that answers: at each break the first row with a price; with
    `replace`, of the window of that row alone (P19)."""
    found: dict[Fraction, tuple[_Row, _Price]] = {}
    for row in part:
        is_of_window = book.windows == Windows.EACH_BREAK or row.newest_us == reached.newest_us
        if row.slot_micros > reached.slot_micros or row.slot_micros in found or not is_of_window:
            continue
        try:
            found[row.slot_micros] = row, _price_of(line, book, row.entry, row.form, links)
        except _NoPriceError:
            continue
    breaks = sorted(found)
    one_unit = Fraction(MICROS) / (line.factor if reached.form == Form.BASE else 1)
    quantities = slice_quantities(breaks, one_unit, line.break_quantity(book))
    return tuple(
        Slice(quantity, price.price_micros, price.price_per, price.lifted, price.steps)
        for quantity, (_, price) in zip(quantities, (found[each] for each in breaks), strict=True)
        if quantity > 0
    )


def _described(entry: Entry) -> str:
    return f"{entry.method.name.lower()} of {entry.sku or entry.product_group or 'every item'}"


def _missing(why: str) -> _NoPriceError:
    return _NoPriceError(ExceptionReason.MISSING_INPUT, why)


@dataclass(frozen=True, slots=True)
class _Price:
    """What an entry makes: its exact price of one asked unit, and that of `price_per` units rounded (P9, P14)."""

    price_micros: Fraction
    rounded_micros: int
    price_per: int
    steps: tuple[Step, ...]
    lifted: bool
    is_basis_missed: bool


def _price_of(line: Line, book: Book, entry: Entry, form: Form, links: int) -> _Price:
    """The price of an entry; a link of a basis chain is neither rounded nor taken per more than one. May raise.

    Of a surcharge it is the amount or the percentage, in millionths, that comes on top (P16).
    """
    if entry.method in SURCHARGES:
        is_amount = entry.method == Method.SURCHARGE_AMOUNT
        on_top = amount_of(line, entry, form, entry.price_per) if is_amount else Fraction(entry.value_micros)
        return _Price(on_top, 0, entry.price_per, (), lifted=False, is_basis_missed=False)
    steps, lifted, basis_missed, price_per = _evaluate(line, book, entry, form, links)
    price = steps[-1].price_micros
    if links == 0 and price_per > 1:
        price_unit = Fraction(price_per)
        words = f"for {price_per} {line.uom}"
        steps = (*steps, Step("price_unit", words, price_unit, price * price_unit, steps[-1].currency))
    rounded = round_price(steps[-1].price_micros, book, lifted)
    if links == 0 and rounded == 0 and not entry.explicit_zero:
        raise _NoPriceError(ExceptionReason.ZERO_PRICE, "rounds to zero without explicit_zero")
    return _Price(price, rounded, price_per, steps, lifted, basis_missed)


def _evaluate(
    line: Line, book: Book, entry: Entry, form: Form, links: int
) -> tuple[tuple[Step, ...], bool, bool, int]:
    """The entry's exact price for one asked unit in the asked currency with its steps, whether the floor lifted it,
    whether its basis passed an entry over, and its price unit. A basis link stays in its book's currency. Raises
    `_NoPriceError`."""
    steps: list[Step] = []
    basis_missed, price_per = False, entry.price_per
    if entry.method == Method.NET:
        price = Fraction(entry.value_micros)
        steps.append(Step("entry", "net", price, price, book.currency))
        if price_per > 1:
            price /= price_per
            steps.append(
                Step("price_unit", f"one of {price_per}", Fraction(1, price_per), price, book.currency)
            )
        if form == Form.BASE and line.factor != 1:
            price *= line.factor
            steps.append(Step("factor", f"one {line.uom}", line.factor, price, book.currency))
    else:
        found, basis_missed, basis_per = _basis_price(line, book, entry, links)
        steps += found
        price_per = price_per or basis_per
        if entry.method == Method.AMOUNT_OFF:
            amount = amount_of(line, entry, form, price_per)
            price = max(Fraction(0), steps[-1].price_micros - amount)
            steps.append(
                Step("amount_off", f"per asked unit, of {book.book_id}", amount, price, book.currency)
            )
        else:
            ratio = method_ratio(entry.method, entry.value_micros)
            price = steps[-1].price_micros * ratio
            steps.append(Step("method", entry.method.name.lower(), ratio, price, book.currency))
    lifted = False
    if entry.method != Method.NET and book.floor_margin is not None:
        cost = _cost_in(line, book.currency)
        if isinstance(cost, Fraction) and price < cost / (1 - book.floor_margin):
            price = cost / (1 - book.floor_margin)
            lifted = True
            steps.append(Step("floor", f"margin {book.floor_margin}", price, price, book.currency))
    if price == 0 and not entry.explicit_zero:
        raise _NoPriceError(ExceptionReason.ZERO_PRICE, "is zero without explicit_zero")
    if links == 0 and book.currency != line.currency:
        steps.append(_converted(line, price, book.currency, line.currency))
    return tuple(steps), lifted, basis_missed, price_per


def amount_of(line: Line, entry: Entry, form: Form, price_per: int) -> Fraction:
    """The amount of an entry for one asked unit (P16): its value is for `price_per` units of its form."""
    amount = Fraction(entry.value_micros, price_per)
    return amount * line.factor if form == Form.BASE else amount


def _basis_price(line: Line, book: Book, entry: Entry, links: int) -> tuple[list[Step], bool, int]:
    """The price an entry's method applies to, in the book's currency: a cost, or another book's exact price (P7), with
    its price unit; raises `_NoPriceError`."""
    if entry.basis == COST:
        cost = _cost_in(line, book.currency)
        if not isinstance(cost, Fraction):
            raise _missing(cost)
        return [Step("cost", "per asked unit", cost, cost, book.currency)], False, 1
    basis = line.data.books[entry.basis] if entry.basis else None
    if basis is None or links == BASIS_LINKS_MAX:
        raise _missing("has no basis price")
    if not basis.valid_from_us <= line.as_of_us < basis.valid_to_us:
        raise _missing(f"has no basis price: {basis.book_id} is not valid at this time")
    outcome = offers_of(line, AS_BASIS, basis, links + 1)
    if not outcome.offers:
        reasons = "; ".join(outcome.passed_over) or "no entry"
        is_only_below = outcome.is_below and not outcome.missed
        reason = ExceptionReason.NONE if is_only_below else ExceptionReason.MISSING_INPUT
        raise _NoPriceError(reason, f"has no basis price: {basis.book_id}: {reasons}")
    offer = outcome.offers[0]
    price = offer.price_micros
    of_slices = Step("basis_average", "of the slices", price, price, basis.currency)
    steps = [
        *([of_slices] if offer.slices else offer.steps),
        Step("basis", basis.book_id, price, price, basis.currency),
    ]
    if basis.currency != book.currency:
        steps.append(_converted(line, price, basis.currency, book.currency))
    return steps, bool(outcome.missed) or offer.is_basis_missed, offer.price_per


def _cost_in(line: Line, currency: str) -> Fraction | str:
    """The item's cost for one asked unit in `currency`: the request's branch, else the customer's, else no branch; or
    what is missing."""
    rows = [c for c in line.data.costs.get(line.item.sku, ()) if c.valid_from_us <= line.as_of_us]
    for branch in (line.branch, line.customer.branch if line.customer else None, None):
        if branch == "":
            continue
        of_branch: list[Cost] = [c for c in rows if c.branch == branch]
        if of_branch:
            newest = max(of_branch, key=lambda c: c.valid_from_us)
            cost = Fraction(newest.cost_micros) * line.factor
            converted = convert(line.data, cost, newest.currency, currency, line.as_of_us)
            words = f"has no exchange rate from {newest.currency} to {currency} for its cost"
            return words if converted is None else converted
    return "has no cost"


def _converted(line: Line, price: Fraction, source: str, target: str) -> Step:
    rate = convert(line.data, Fraction(1), source, target, line.as_of_us)
    if rate is None:
        raise _missing(f"has no exchange rate from {source} to {target}")
    return Step("convert", f"{source} to {target}", rate, price * rate, target)
