"""Validates answers of the ERP before they are used or cached (docs/erp.md).

The checks, in the order in which their reasons are reported: the echoed item, customer, currency and unit; a finite
number, not negative, no finer than 10^-6, within 64 bits also when multiplied by the quantity; not above the highest
accepted price, and within a band around the matrix price.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from pricegrid.erp.protocol import LineFailure, PriceReply, Refusal, StockQuestion, StockReply
from pricegrid.erp.settings import ValidationSettings
from pricegrid.pricing_engine.engine import PriceAnswers
from pricegrid.pricing_engine.model import INT64_MAX, MICROS, NEVER_US, PriceQuestion
from pricegrid.pricing_engine.rules.money import extended_price_micros

_DIGITS_MAX: Final = 40
"""A number with more decimal digits is refused at once, as out of range or too fine."""


@dataclass(frozen=True, slots=True)
class PriceCheck:
    """A question, and the matrix price to compare its answer with."""

    question: PriceQuestion
    """`uom` and `currency` are never ''."""
    matrix_price_micros: int | None = None
    """Of one unit. None: there is no matrix price, or it must not be compared."""
    valid_until_us: int = NEVER_US
    """When the matrix price may change."""


@dataclass(frozen=True, slots=True)
class ValidPrice:
    """A validated price; None: neither the ERP nor the matrices have a price."""

    unit_price_micros: int | None
    valid_until_us: int


@dataclass(frozen=True, slots=True)
class ValidStock:
    """Validated stock, in micros of the base unit, signed."""

    on_hand_micros: int
    available_micros: int


def price_of_one_micros(answers: PriceAnswers, line: int) -> int:
    """The matrix price of one unit, as an ERP says prices: of one that is for more units rounded half up (P14)."""
    price, price_per = int(answers.unit_price_micros[line]), int(answers.price_per[line])
    return (2 * price + price_per) // (2 * price_per) if price_per > 1 else price


class RefusedError(Exception):
    """The answer is refused."""

    def __init__(self, reason: Refusal, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def valid_price(
    check: PriceCheck, reply: PriceReply | LineFailure, settings: ValidationSettings
) -> ValidPrice:
    """The price of a reply, in micros. Raises RefusedError."""
    if isinstance(reply, LineFailure):
        raise RefusedError(reply.reason, reply.message)
    question = check.question
    _check_echo(Refusal.OTHER_ITEM, "item", reply.sku, question.sku)
    _check_echo(Refusal.OTHER_CUSTOMER, "customer", reply.customer_id, question.customer_id)
    demanded = {
        "customer": (settings.echo_customer, reply.customer_id),
        "currency": (settings.echo_currency, reply.currency),
        "unit": (settings.echo_uom, reply.uom),
    }
    _check_echo(Refusal.CURRENCY, "currency", reply.currency, question.currency)
    _check_echo(Refusal.UNIT, "unit", reply.uom, question.uom)
    valid_until_us = min(check.valid_until_us, reply.valid_until_us or NEVER_US)
    if reply.unit_price is None:
        if check.matrix_price_micros is not None:
            raise RefusedError(Refusal.NO_PRICE, "the ERP has no price, but there is a matrix price")
        return ValidPrice(None, valid_until_us)
    for name, (wanted, echoed) in demanded.items():
        if wanted and echoed is None:
            raise RefusedError(Refusal.NOT_ECHOED, f"the answer does not echo the {name}")
    price_micros = _micros("the price", reply.unit_price)
    if price_micros < 0 or (price_micros == 0 and not settings.zero_allowed):
        raise RefusedError(Refusal.SIGN, f"the price is {reply.unit_price}")
    extended = extended_price_micros(price_micros, question.quantity_micros, question.currency)
    if abs(extended) > INT64_MAX:
        raise RefusedError(Refusal.RANGE, f"{reply.unit_price} times the quantity is beyond 64 bits")
    _check_band(price_micros, check, settings)
    return ValidPrice(price_micros, valid_until_us)


def valid_stock(question: StockQuestion, reply: StockReply | LineFailure) -> ValidStock:
    """The stock of a reply, in micros. Raises RefusedError."""
    if isinstance(reply, LineFailure):
        raise RefusedError(reply.reason, reply.message)
    _check_echo(Refusal.OTHER_ITEM, "item", reply.sku, question.sku)
    _check_echo(Refusal.OTHER_BRANCH, "branch", reply.branch, question.branch)
    return ValidStock(_micros("on-hand", reply.on_hand), _micros("what is available", reply.available))


def _check_echo(reason: Refusal, name: str, echoed: str | None, asked: str) -> None:
    if echoed is not None and echoed != asked:
        raise RefusedError(reason, f"the answer is for {name} {echoed[:200]!r}, not {asked!r}")


def _micros(name: str, value: Decimal) -> int:
    """An exact number of micros. Raises RefusedError."""
    if not value.is_finite():
        raise RefusedError(Refusal.NOT_A_NUMBER, f"{name} is {value}")
    if value and value.adjusted() > _DIGITS_MAX:
        raise RefusedError(Refusal.RANGE, f"{name} has {value.adjusted()} digits")
    if value and value.adjusted() < -_DIGITS_MAX:
        raise RefusedError(Refusal.PRECISION, f"{name} is {value:E}")
    numerator, denominator = value.as_integer_ratio()
    micros, rest = divmod(numerator * MICROS, denominator)
    if rest:
        raise RefusedError(Refusal.PRECISION, f"{name} is {value}, finer than 10^-6")
    if abs(micros) > INT64_MAX:
        raise RefusedError(Refusal.RANGE, f"{name} is {value}, beyond 64 bits")
    return micros


def _check_band(price_micros: int, check: PriceCheck, settings: ValidationSettings) -> None:
    highest: Mapping[str, Decimal] = settings.unit_price_max
    limit = highest.get(check.question.currency)
    if limit is not None and price_micros > limit * MICROS:
        raise RefusedError(
            Refusal.BAND, f"{_text(price_micros)} is above the highest accepted price, {limit}"
        )
    matrix = check.matrix_price_micros
    if matrix is not None and abs(price_micros - matrix) * 100 > matrix * settings.band_pct:
        raise RefusedError(
            Refusal.BAND,
            f"{_text(price_micros)} is more than {settings.band_pct} % from the matrix price {_text(matrix)}",
        )


def _text(micros: int) -> str:
    return f"{Decimal(micros).scaleb(-6):f}"
