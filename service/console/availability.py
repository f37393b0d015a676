"""The page of availability: what can be promised from which day on, what comes in and what goes out."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction
from functools import partial
from typing import Final

from pricegrid import BranchAvailability, InvalidRequestError, Line, NotPermittedError
from pricegrid.service.cli.text import decimal_or_none, decimal_text
from pricegrid.service.console.asked import Asked
from pricegrid.service.console.charts import Mark, Step, spread, steps
from pricegrid.service.console.freshness import age_text, sources
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
from pricegrid.service.console.price import QUESTION, mappings, text

PATH = "/availability"
_HORIZON: Final = timedelta(days=90)
_TICKS: Final = 7
_BRANCHES_DRAWN: Final = 5


def form(asked: Asked) -> Element:
    """Asks for availability."""
    return ask(
        PATH,
        field("Item", "sku", asked.text("sku"), needed=True),
        field("Quantity", "quantity", asked.text("quantity"), hint="empty: 1"),
        field("Unit", "uom", asked.text("uom"), hint="empty: base unit"),
        field("Branch", "branch", asked.text("branch"), hint="empty: every branch"),
        field("Customer", "customer", asked.text("customer"), hint="empty: every item is seen"),
        field("As of", "as_of", asked.text("as_of"), hint="YYYY-MM-DD or instant; empty: now"),
        button="Show availability",
    )


def answer(asked: Asked) -> Node:
    """What is free, by branch, and how it goes on."""
    if not asked.fields:
        return tag("p", "Name an item to see what of it can be promised, and when.", class_="lead")
    line, customer = asked.line(), asked.text("customer")
    branches = [asked.text("branch")] if asked.text("branch") else []
    check = partial(
        asked.client.check_availability,
        [line],
        customer_id=customer,
        branches=branches,
        as_of=asked.as_of(),
        projected=True,
    )
    told = ""
    try:
        result = check(explain=True)
    except NotPermittedError:
        told = "This caller may see availability, but not receipts and demands (scope availability.explain)."
        result = check()
    except InvalidRequestError as error:
        if error.reason != "TOO_MANY_PAIRS":
            raise
        told = "These are many branches: name one to see its receipts and demands."
        result = check()
    found = result.lines[0]
    unit = f" {line.uom}" if line.uom else ""
    free, short = decimal_or_none(found.available), decimal_or_none(found.shortage)
    head: Node = [tag("strong", "Not known"), " ", badge(found.status.value)]
    if free is not None:
        asks = f"{decimal_text(line.quantity)}{unit}"
        left = f"{short}{unit} short of {asks}" if found.shortage else f"enough for {asks}"
        head = [tag("strong", f"{free}{unit}"), f" can be promised now · {left}"]
    known = [each for each in found.branches if each.projected]
    more = f"The first {_BRANCHES_DRAWN} branches are drawn; the others are links above."
    return [
        notice(told) if told else None,
        tag("p", head, class_="answer"),
        facts(
            [
                ("As of", moment(result.as_of)),
                ("Snapshot", result.snapshot_version),
                ("Correlation id", result.correlation_id),
            ]
        ),
        tag(
            "p",
            link("Price of this item", "/price", {name: asked.text(name) for name in QUESTION}),
            class_="more",
        ),
        _by_branch(asked, found.branches),
        [_branch(line, each) for each in known[:_BRANCHES_DRAWN]],
        tag("p", more, class_="hint") if len(known) > _BRANCHES_DRAWN else None,
    ]


def _by_branch(asked: Asked, found: Sequence[BranchAvailability]) -> Element:
    rows: list[list[Node]] = []
    for each in found:
        here = {name: asked.text(name) for name in QUESTION} | {"branch": each.branch}
        ages: list[Node] = [
            [badge(source.state.value), " ", age_text(source.age)] for source in sources(each.freshness)
        ]
        free, short = (decimal_or_none(figure) or "?" for figure in (each.available, each.shortage))
        limit = each.limited_by.value if each.limited_by else ""
        rows.append([link(each.branch, PATH, here), badge(each.status.value), free, short, limit, *ages])
    header = ("Branch", "Status", "Available", "Shortage", "Limited by", "ERP", "WMS", "In transit")
    title = "By branch, with how old each source is"
    return section("Branches", table(title, header, rows, right=(2, 3)))


def _branch(line: Line, each: BranchAvailability) -> Element:
    unit = f" in {line.uom}" if line.uom else ""
    first = each.projected[0].date
    last = max(first + _HORIZON, each.projected[-1].date + timedelta(days=1))
    points = [Step(step.date.toordinal(), Fraction(step.atp)) for step in each.projected]
    ticks = [
        (at, date.fromordinal(at).isoformat()) for at in spread(first.toordinal(), last.toordinal(), _TICKS)
    ]
    marks, rows = _events(each)
    title = f"Available to promise of {line.sku} at {each.branch}{unit}"
    steps_table = table(
        f"{title}, day by day",
        ("From", "Available to promise", "Balance"),
        [
            (step.date.isoformat(), decimal_text(step.atp), decimal_text(step.balance))
            for step in each.projected
        ],
        right=(1, 2),
    )
    events_table = (
        table(
            f"Receipts and demands at {each.branch}, in base units",
            ("Day", "What", "Item", "Reference", "Quantity", "Counted", "Remark"),
            rows,
            right=(4, 5),
        )
        if rows
        else None
    )
    return section(
        f"Branch {each.branch}",
        picture(
            steps(title, points, last.toordinal(), ticks, marks),
            f"{title}. Triangles that point up are receipts, those that point down are demands.",
        ),
        _figures(each),
        tag("div", steps_table, events_table, class_="beside"),
    )


def _figures(each: BranchAvailability) -> Node:
    """What the first day is made of, for each item that is taken from stock."""
    names = ("on_hand", "unavailable", "allocated", "safety_stock", "reserved", "lowest_balance", "lowest_on")
    components = mappings((each.explanation or {}).get("components"))
    if not components:
        return None
    rows = [[text(part.get("sku")), *(text(part.get(name)) or "?" for name in names)] for part in components]
    header = ("Item", *(name.replace("_", " ").capitalize() for name in names))
    return table(f"What is in stock at {each.branch}, in base units", header, rows, right=range(1, 7))


def _events(each: BranchAvailability) -> tuple[list[Mark], list[Sequence[Node]]]:
    marks: list[Mark] = []
    rows: list[tuple[str, Sequence[Node]]] = []
    for part in mappings((each.explanation or {}).get("components")):
        for receipt in mappings(part.get("receipts")):
            row = _event(part, receipt, "receipt", "usable_on", "reference")
            rows.append((text(receipt.get("usable_on")), (*row, text(receipt.get("why")))))
            marks += _marks(receipt, "receipt", "usable_on", "reference")
        for demand in mappings(part.get("demands")):
            row = _event(part, demand, "demand", "due", "order_ref")
            rows.append((text(demand.get("due")), (*row, "")))
            marks += _marks(demand, "demand", "due", "order_ref")
    return marks, [row for _, row in sorted(rows, key=lambda each: each[0])]


def _event(
    part: Mapping[str, object], event: Mapping[str, object], kind: str, day: str, name: str
) -> tuple[str, ...]:
    kinds = text(event.get("kind")) or kind
    return (
        text(event.get(day)),
        kind if kinds == kind else f"{kind} ({kinds})",
        text(part.get("sku")),
        " / ".join(filter(None, (text(event.get(name)), text(event.get("line") or event.get("order_line"))))),
        text(event.get("quantity")),
        text(event.get("counted")),
    )


def _marks(event: Mapping[str, object], kind: str, day: str, name: str) -> list[Mark]:
    said = text(event.get(day))
    if not said or text(event.get("counted")) in {"", "0"}:
        return []
    what = f"{kind} {text(event.get(name))}: {text(event.get('counted'))} on {said}"
    return [Mark(date.fromisoformat(said[:10]).toordinal(), what, kind)]
