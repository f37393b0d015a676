"""The explanation of a price as text (P12), and the price again from nothing but that text."""

from collections.abc import Mapping
from fractions import Fraction

from pricegrid.columnar.decimals import decimal_text, per_text
from pricegrid.columnar.instants import instant_us_text
from pricegrid.pricing_engine.model import (
    MICROS,
    NEVER_US,
    Book,
    PriceQuestion,
    RoundingMode,
    minor_unit_micros,
)
from pricegrid.pricing_engine.rules.money import extended_price_micros, extended_total_micros, round_price
from pricegrid.pricing_engine.rules.resolution import Considered, Offer, Resolution, Slice, Step
from pricegrid.pricing_engine.rules.slices import slice_total


def end_text(instant_us: int) -> str | None:
    """The end of an interval as RFC 3339 in UTC; None where it has none."""
    return None if instant_us >= NEVER_US else instant_us_text(instant_us)


def explanation(question: PriceQuestion, resolution: Resolution) -> dict[str, object]:
    """The whole explanation of one line, JSON-able."""
    offer = resolution.offer
    layers: dict[str, list[dict[str, object]]] = {}
    for each in resolution.considered:
        layers.setdefault(each.layer, []).append(_candidate(each))
    answer: dict[str, object] = {
        "status": resolution.status.name,
        "exception": resolution.exception.name,
        "currency": resolution.currency,
        "unit_price": decimal_text(resolution.unit_price_micros) if offer else None,
        "price_per": resolution.price_per if offer else None,
        "extended_price": decimal_text(resolution.extended_price_micros) if offer else None,
        "book_id": offer.book.book_id if offer else None,
        "entry_id": offer.entry.entry_id or None if offer else None,
        "layer": resolution.layer or None,
        "minimum_quantity": decimal_text(resolution.minimum_quantity_micros)
        if resolution.minimum_quantity_micros
        else None,
        "valid_until": end_text(resolution.valid_until_us),
        "floor_lifted": offer.lifted if offer else False,
        "converted": resolution.converted,
    }
    return {
        "question": {
            "customer_id": question.customer_id,
            "sku": question.sku,
            "quantity": decimal_text(question.quantity_micros),
            "uom": question.uom,
            "branch": question.branch,
            "as_of": instant_us_text(question.as_of_us),
        },
        "answer": answer,
        **_mixed(resolution),
        "layers": [{"layer": name, "candidates": rows} for name, rows in layers.items()],
        "steps": _steps(question, resolution, offer) if offer else [],
    }


def _mixed(resolution: Resolution) -> dict[str, object]:
    """What counted for the breaks, where that is more than the line (P19)."""
    mixed = resolution.mixed
    if mixed is None or len(mixed.lines) < 2:
        return {}
    quantity = str(mixed.quantity_micros / MICROS)
    return {"counted": {"break_group": mixed.break_group, "quantity": quantity, "lines": list(mixed.lines)}}


def _candidate(each: Considered) -> dict[str, object]:
    offer = each.offer
    row: dict[str, object] = {
        "book_id": each.book_id,
        "distance": each.distance,
        "outcome": "answers" if each.answers else "adds" if each.adds else "lost" if offer else "no price",
        "reason": each.reason,
    }
    if offer:
        entry = offer.entry
        row |= {
            "entry_id": entry.entry_id or None,
            "method": entry.method.name.lower(),
            "value": decimal_text(entry.value_micros),
            "level": "sku" if entry.sku else "product_group" if entry.product_group else "every item",
            "product_group": entry.product_group,
            "price_class": entry.price_class,
            "branch": entry.branch,
            "uom": entry.uom,
            "break": decimal_text(entry.min_quantity_micros),
            "price": decimal_text(offer.rounded_micros),
            "price_per": offer.price_per,
        }
    return row


def _steps(question: PriceQuestion, resolution: Resolution, offer: Offer) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for each in offer.slices:
        rows += [*map(_step, each.steps), _slice(each, offer.book, resolution.currency)]
    if offer.slices:
        quantity = sum((each.quantity_micros for each in offer.slices), Fraction(0)) / MICROS
        average = offer.total_micros / quantity * offer.price_per
        words = f"of the slices, for {offer.price_per}"
        row = _step(Step("average", words, quantity, average, resolution.currency))
        rows.append({**row, "price_per": offer.price_per})
        increment: dict[str, object] = {"detail": "half_up", "value": decimal_text(1)}
    else:
        rows += map(_step, offer.steps)
        increment = _rounding(offer.book, lifted=offer.lifted)
    unit_price, currency = decimal_text(resolution.unit_price_micros), resolution.currency
    rows.append({"step": "round", **increment, "price": unit_price, "currency": currency})
    rows.append(
        {
            "step": "extend",
            "detail": f"rounded half up to {decimal_text(minor_unit_micros(resolution.currency))}",
            "value": decimal_text(question.quantity_micros),
            "price": decimal_text(resolution.extended_price_micros),
            "currency": resolution.currency,
        }
    )
    return rows


def _step(step: Step) -> dict[str, object]:
    return {
        "step": step.name,
        "detail": step.detail,
        "value": str(step.operand / MICROS if step.name in _AMOUNTS else step.operand),
        "price": str(step.price_micros / MICROS),
        "currency": step.currency,
    }


def _rounding(book: Book, *, lifted: bool) -> dict[str, object]:
    """How a book rounds: its mode as the detail, its increment as the value, and its price ending where it has one."""
    mode = (RoundingMode.UP if lifted else book.rounding_mode).name.lower()
    ending = decimal_text(book.price_ending_micros)
    words = {"detail": f"{mode} to a price ending in {ending}", "ending": ending}
    return {
        **(words if book.price_ending_micros else {"detail": mode}),
        "value": decimal_text(book.rounding_increment_micros),
    }


def _slice(each: Slice, book: Book, currency: str) -> dict[str, object]:
    """A slice of a graduated ladder: how much of it, at which rounded price, and what it costs (P19)."""
    rounding = _rounding(book, lifted=each.lifted)
    price = round_price(each.price_micros * each.price_per, book, each.lifted)
    return {
        **rounding,
        "step": "slice",
        "increment": rounding["value"],
        "detail": f"at {decimal_text(price)}{per_text(each.price_per)}, rounded {rounding['detail']}",
        "mode": (RoundingMode.UP if each.lifted else book.rounding_mode).name.lower(),
        "value": str(each.quantity_micros / MICROS),
        "price": str(slice_total(book, [each]) / MICROS),
        "currency": currency,
    }


_AMOUNTS = frozenset(
    {"entry", "cost", "basis", "basis_average", "floor", "amount_off", "surcharge_amount"}
)  # whose operand is money
_FACTORS = frozenset({"factor", "method", "convert", "price_unit"})  # steps that multiply


def reproduce(explained: Mapping[str, object]) -> tuple[int, int]:
    """(unit price, extended price) in micros, computed again from an explanation's own numbers (P12)."""
    price, price_per = Fraction(0), 1
    answered: Fraction | None = None  # the price that surcharges are on
    sliced, total = Fraction(0), Fraction(0)
    unit = extended = 0
    for row in explained["steps"]:  # type: ignore[attr-defined]
        name, value = row["step"], Fraction(row["value"])
        if name in ("entry", "cost", "floor", "basis_average"):
            price = value * MICROS
        elif name in _FACTORS:
            price *= value
            if name == "price_unit":  # of one unit, or of so many: the last one says of how many it is
                price_per = max(1, int(value))
        elif name == "amount_off":
            price = max(Fraction(0), price - value * MICROS)
        elif name in ("surcharge_pct", "surcharge_amount"):
            answered = price if answered is None else answered
            price += value * MICROS if name == "surcharge_amount" else answered * value / 100
        elif name == "slice":
            rounded = round_price(price, _book_of(row, row["increment"], row["mode"]), lifted=False)
            total += Fraction(rounded, price_per) * value
            sliced, answered, price_per = sliced + value, None, 1
        elif name == "average":
            price_per = row["price_per"]
            price = total / sliced * price_per
        elif name == "round":
            unit = round_price(price, _book_of(row, value, row["detail"].partition(" ")[0]), lifted=False)
        elif name == "extend":
            quantity = int(value * MICROS)
            extended = extended_price_micros(unit, quantity, row["currency"], price_per)
            if sliced:
                extended = extended_total_micros(total * abs(value) / sliced, quantity, row["currency"])
    return unit, extended


def _book_of(row: Mapping[str, str], increment: str | Fraction, mode: str) -> Book:
    """A book that rounds as a row says."""
    return Book(
        "",
        "",
        "",
        rounding_increment_micros=int(Fraction(increment) * MICROS),
        rounding_mode=RoundingMode[mode.upper()],
        price_ending_micros=int(Fraction(row.get("ending", "0")) * MICROS),
    )
