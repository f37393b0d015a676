"""The page of a price: what it is, how it came about, and why each other price lost."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from pricegrid import Explanation, Line, LinePrice, NotPermittedError
from pricegrid.columnar.decimals import decimal_text as decimal_text_of
from pricegrid.columnar.decimals import per_text
from pricegrid.service.cli.text import a_unit_text, decimal_text, extended_price_text, unit_price_text
from pricegrid.service.cli.waterfall import exact_text
from pricegrid.service.clock import us_of
from pricegrid.service.console.asked import Asked
from pricegrid.service.console.breaks import break_section
from pricegrid.service.console.charts import Bar, waterfall
from pricegrid.service.console.html import Element, Node, tag
from pricegrid.service.console.layout import (
    ask,
    badge,
    facts,
    field,
    link,
    moment,
    notice,
    picture,
    section,
    table,
)

PATH = "/price"
QUESTION = ("customer", "sku", "quantity", "uom", "branch", "currency", "as_of", "snapshot")
_HEADER = ("Book", "Agreement of", "Entry", "What it says", "Gives", "Outcome", "Why")
_OTHER_UNIT = "price_unit"
"""The step after which the price is of another number of units: nothing was added or taken."""
_SAME_AMOUNT = frozenset({"extend"})
"""Steps whose price is of the whole quantity, not of a unit."""


def form(asked: Asked) -> Element:
    """Asks for a price."""
    return ask(
        PATH,
        field("Customer", "customer", asked.text("customer"), hint="empty: what everyone gets"),
        field("Item", "sku", asked.text("sku"), needed=True),
        field("Quantity", "quantity", asked.text("quantity"), hint="empty: 1"),
        field("Unit", "uom", asked.text("uom"), hint="empty: base unit"),
        field("Branch", "branch", asked.text("branch"), hint="empty: the customer's"),
        field("Currency", "currency", asked.text("currency"), hint="empty: the customer's"),
        field("As of", "as_of", asked.text("as_of"), hint="YYYY-MM-DD or instant; empty: now"),
        field("Snapshot", "snapshot", asked.text("snapshot"), hint="empty: the active one", wide=True),
        button="Explain price",
    )


def answer(asked: Asked) -> Node:
    """The price with all that led to it."""
    if not asked.fields:
        return tag("p", "Name an item, and whose price of it you want explained.", class_="lead")
    line = asked.line()
    question = settings(asked)
    customer = asked.text("customer")
    client = asked.client
    try:
        found = client.explain_price(customer, line, as_of=asked.as_of(), **question)
    except NotPermittedError:
        result = client.price_lines(customer, [line], as_of=asked.as_of(), **question)
        told = notice("This caller may see prices, but not how they come about (scope prices.explain).")
        return [told, _headline(line, result.lines[0], result.currency)]
    ways = _ways(asked, found)
    return [
        _headline(line, found.line, found.currency),
        _facts(asked, found, ways),
        _how(found),
        _considered(found, ways),
        break_section(asked, line, found),
    ]


def settings(asked: Asked) -> dict[str, Any]:
    """What a price depends on beside customer, line and instant."""
    return {
        "currency": asked.text("currency") or None,
        "branch": asked.text("branch") or None,
        "snapshot_version": asked.text("snapshot") or None,
    }


def _headline(line: Line, found: LinePrice, currency: str) -> Element:
    asked = f"{decimal_text(line.quantity)} {line.uom}".rstrip()
    if found.unit_price is None:
        least = found.minimum_quantity
        from_ = f" It has a price from {decimal_text(least)} on." if least is not None else ""
        return tag("p", tag("strong", "No price"), " ", badge(found.status.value), from_, class_="answer")
    return tag(
        "p",
        tag("strong", f"{unit_price_text(found.unit_price, currency)} {currency}"),
        f" {a_unit_text(found.price_per)} · ",
        f"{extended_price_text(found.extended_price, currency)} {currency} for {asked}",
        class_="answer",
    )


def _facts(asked: Asked, found: Explanation, ways: Mapping[str, str]) -> Node:
    line = found.line
    item = {name: asked.text(name) for name in QUESTION}
    notes = [
        text
        for text, holds in (
            ("lifted to the floor above cost", line.floor_lifted),
            ("converted", line.converted),
        )
        if holds
    ]
    said: list[tuple[str, Node]] = [
        ("Status", badge(line.status.value)),
        ("Book", line.book_id),
        ("Agreement of", ways.get(line.book_id, "")),
        ("Entry", line.entry_id),
        ("Layer", line.layer),
        ("Source", line.source and line.source.value),
        ("Exception, not confirmed", line.exception and line.exception.value),
        ("Notes", ", ".join(notes)),
        ("As of", moment(found.as_of)),
        ("Valid until", moment(line.valid_until)),
        ("Snapshot", found.snapshot_version),
        ("Correlation id", found.correlation_id),
    ]
    more = tag(
        "p",
        link("Price over time", "/timeline", item),
        " · ",
        link("Availability of this item", "/availability", item),
        class_="more",
    )
    return [facts(said), more]


def _how(found: Explanation) -> Node:
    steps = mappings(found.document.get("steps"))
    if not steps:
        return None
    rows = [
        [
            text(step.get(key)) if key in ("step", "detail", "currency") else exact_text(text(step.get(key)))
            for key in ("step", "detail", "value", "price", "currency")
        ]
        for step in steps
    ]
    return section(
        "How it came about",
        picture(
            waterfall("How the unit price came about, step by step", _bars(steps)),
            "The amount after each step: grey where it begins, green what a step takes, orange what it adds, "
            "blue the unit price.",
        ),
        table("The same steps in figures", ("Step", "By", "Value", "Price", "Currency"), rows, right=(2, 3)),
    )


def _bars(steps: Sequence[Mapping[str, object]]) -> list[Bar]:
    bars: list[Bar] = []
    currency = ""
    for step in steps:
        name = text(step.get("step"))
        if name in _SAME_AMOUNT:
            continue
        amount, now = text(step.get("price")), text(step.get("currency"))
        is_result = name == "round"
        bars.append(
            Bar(
                label="unit price" if is_result else name,
                detail=f"rounded {text(step.get('detail'))}" if is_result else text(step.get("detail")),
                amount=Fraction(amount),
                shown=f"{_figure(amount)} {now}",
                starts=is_result or now != currency or name == _OTHER_UNIT,
                is_result=is_result,
            )
        )
        currency = now
    return bars


def _figure(amount: str) -> str:
    """An amount as a picture has room for: of one that no decimal is, the first digits."""
    exact = exact_text(amount)
    return exact if "/" not in exact else f"≈ {decimal_text_of(round(Fraction(amount) * 10**6))}"


def _considered(found: Explanation, ways: Mapping[str, str]) -> Node:
    body: list[Node] = []
    for layer in mappings(found.document.get("layers")):
        body.append(
            tag(
                "tr",
                tag("th", f"Layer {text(layer.get('layer'))}", scope="rowgroup", colspan=len(_HEADER)),
                class_="group",
            )
        )
        body += [_candidate(each, ways) for each in mappings(layer.get("candidates"))]
    if not body:
        return None
    head = tag(
        "tr", [tag("th", name, scope="col", class_="figure" if name == "Gives" else None) for name in _HEADER]
    )
    caption = "Every book of the customer's, in the order in which they are searched"
    inside = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", body))
    return section(
        "Books considered",
        tag("div", inside, class_="scroll", tabindex="0", role="region", aria_label=caption),
    )


def _candidate(each: Mapping[str, object], ways: Mapping[str, str]) -> Element:
    book, outcome = text(each.get("book_id")), text(each.get("outcome"))
    says = ""
    if each.get("method"):
        level = " ".join(
            text(each.get(key)) for key in ("level", "product_group", "price_class", "branch")
        ).replace("_", " ")
        unit = f" {text(each.get('uom'))}".rstrip()
        says = f"{each['method']} {text(each.get('value'))}, from {text(each.get('break'))}{unit}, {level.strip()}"
    why = text(each.get("reason"))
    return tag(
        "tr",
        tag("th", book, scope="row"),
        tag("td", ways.get(book) or _steps_up(each.get("distance"))),
        tag("td", text(each.get("entry_id")), class_="name"),
        tag("td", says),
        tag("td", text(each.get("price")) + per_text(_number(each.get("price_per"))), class_="figure"),
        tag("td", badge(outcome)),
        tag("td", "" if why == outcome else why),
        class_="answers" if outcome == "answers" else None,
    )


def _steps_up(distance: object) -> str:
    """Whose agreement it is, where only its distance is known."""
    if distance == 0:
        return "the customer"
    return f"{distance} above (groups, then price class, then everyone)"


def _ways(asked: Asked, found: Explanation) -> Mapping[str, str]:
    """Whose agreement brought each book, where the store of the snapshot that answered is at hand."""
    customer = asked.text("customer")
    if asked.store is None or not customer:
        return {}
    from pricegrid.loaders.errors import LoadError
    from pricegrid.loaders.inspection import books_of

    try:
        known = books_of(asked.store, customer, us_of(found.as_of))
    except (LoadError, OSError):
        return {}
    if known["snapshot"] != found.snapshot_version:
        return {}
    return {book["book_id"]: book["through"] for book in known["books"]}


def mappings(value: object) -> list[Mapping[str, object]]:
    """The objects of a list of a JSON document."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _number(value: object) -> int:
    """A whole number of a JSON document; 1 for null."""
    return value if isinstance(value, int) else 1


def text(value: object) -> str:
    """A value of a JSON document; '' for null."""
    return "" if value is None else str(value)
