"""Methods, exchange rates and rounding in exact fractions (P3, P7, P9, P16)."""

from fractions import Fraction

from pricegrid.pricing_engine.model import MICROS, Book, Method, PriceData, RoundingMode, minor_unit_micros


def method_ratio(method: Method, value_micros: int) -> Fraction:
    """What a computed method multiplies its basis by (P7): 25 % discount is 3/4, 25 % margin is 4/3."""
    hundred = 100 * MICROS
    return {
        Method.NET: Fraction(1),
        Method.DISCOUNT_PCT: Fraction(hundred - value_micros, hundred),
        Method.MULTIPLIER: Fraction(value_micros, MICROS),
        Method.MARKUP_PCT: Fraction(hundred + value_micros, hundred),
        Method.MARGIN_PCT: Fraction(hundred, hundred - value_micros)
        if value_micros < hundred
        else Fraction(0),
    }[method]


def convert(data: PriceData, amount: Fraction, source: str, target: str, as_of_us: int) -> Fraction | None:
    """P3: the direct rate, else the opposite pair inverted exactly, no chains; None where there is neither."""
    if source == target:
        return amount
    for pair, invert in (((source, target), False), ((target, source), True)):
        rows = [
            r for r in data.rates if (r.from_currency, r.to_currency) == pair and r.valid_from_us <= as_of_us
        ]
        if rows:
            rate = max(rows, key=lambda r: r.valid_from_us).rate
            return amount / rate if invert else amount * rate
    return None


def round_price(price_micros: Fraction, book: Book, lifted: bool) -> int:
    """P9, once, to the book's increment, or to a price of its ending (P16); one a floor lifted rounds up (P8)."""
    increment, ending = book.rounding_increment_micros, book.price_ending_micros
    if price_micros == 0:
        return 0
    whole, rest = divmod(price_micros - ending, increment)
    half = Fraction(increment, 2)
    up = {
        RoundingMode.HALF_UP: rest >= half,
        RoundingMode.HALF_DOWN: rest > half,
        RoundingMode.HALF_EVEN: rest > half or (rest == half and whole % 2 == 1),
        RoundingMode.UP: rest > 0,
        RoundingMode.DOWN: False,
    }[RoundingMode.UP if lifted else book.rounding_mode]
    return max(0, whole + up) * increment + ending


def extended_total_micros(total_micros: Fraction, quantity_micros: int, currency: str) -> int:
    """A total that is not a unit price times the quantity, rounded half up on the magnitude as such a one (P9, P19)."""
    minor = minor_unit_micros(currency)
    magnitude = (2 * total_micros + minor) // (2 * minor) * minor
    return magnitude if quantity_micros > 0 else -magnitude


def extended_price_micros(
    unit_price_micros: int, quantity_micros: int, currency: str, price_per: int = 1
) -> int:
    """Unit price times quantity, exact, rounded half up on the magnitude to the currency's minor unit (P9).

    The unit price is that of `price_per` units (P14).
    """
    minor = minor_unit_micros(currency)
    scale = MICROS * minor * price_per
    magnitude = (2 * unit_price_micros * abs(quantity_micros) + scale) // (2 * scale) * minor
    return magnitude if quantity_micros > 0 else -magnitude
