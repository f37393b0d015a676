"""The page of freshness: how old the data of each branch is, which feeds need a look, whether the server is well."""

from collections.abc import Sequence
from datetime import timedelta

from pricegrid import Freshness, Line, PricegridError
from pricegrid.availability import SourceFreshness
from pricegrid.service.clock import instant_text
from pricegrid.service.console.asked import Asked
from pricegrid.service.console.html import Element, Node, tag
from pricegrid.service.console.layout import ask, badge, field, notice, section, table

PATH = "/freshness"
_MISSING_SHOWN = 5
_FEEDS_SHOWN = 200


def form(asked: Asked) -> Element:
    """Asks for freshness."""
    return ask(
        PATH,
        field("Item", "sku", asked.text("sku"), hint="freshness is of what an item's answer is made of"),
        button="Show freshness",
    )


def answer(asked: Asked) -> Node:
    """Health, freshness by branch, feeds."""
    return [_health(asked), _branches(asked), _feeds(asked)]


def sources(freshness: Freshness) -> Sequence[SourceFreshness]:
    """The sources of an answer, in the order of columns: ERP, WMS, in transit."""
    return (freshness.erp, freshness.wms, freshness.transit)


def age_text(age: timedelta | None) -> str:
    """How old something is, in the two largest units."""
    if age is None:
        return "age not known"
    seconds = age // timedelta(seconds=1)
    for unit, name, part, smaller in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if seconds >= unit:
            return f"{seconds // unit} {name} {seconds % unit // part} {smaller}"
    return f"{seconds} s"


def refusal(error: PricegridError) -> Element:
    """A refusal of the service, in its own words."""
    tail = f" (correlation id {error.correlation_id})" if error.correlation_id else ""
    return notice(tag("strong", error.reason), f": {error}{tail}", kind="bad")


def _health(asked: Asked) -> Element:
    rows = [(name, badge(status)) for name, status in asked.server.health(asked.token).items()]
    return section("Health", table("The worker that this console has reached", ("Service", "Status"), rows))


def _branches(asked: Asked) -> Element:
    sku = asked.text("sku") or _any_item(asked)
    if not sku:
        return section("Freshness by branch", tag("p", "Name an item that the branches have in stock."))
    try:
        result = asked.client.check_availability([Line(sku)])
    except PricegridError as error:
        return section("Freshness by branch", refusal(error))
    rows = []
    for branch in result.lines[0].branches:
        ages = [
            cell
            for source in sources(branch.freshness)
            for cell in (badge(source.state.value), age_text(source.age))
        ]
        rows.append((branch.branch, *ages))
    header = ("Branch", "ERP: on-hand", "Age", "WMS: allocations", "Age", "Receipts and demands", "Age")
    title = f"What answers of {sku} are made of, at {instant_text(result.as_of)}"
    age = age_text(result.snapshot_age)
    return section(
        "Freshness by branch",
        table(title, header, rows),
        tag("p", f"Snapshot {result.snapshot_version}, made {age} ago.", class_="hint"),
    )


def _any_item(asked: Asked) -> str:
    """An item with stock, where the store is at hand."""
    if asked.store is None:
        return ""
    from pricegrid.service.console.search import stocked_item

    return stocked_item(asked.store)


def _feeds(asked: Asked) -> Element:
    try:
        issues = [
            issue
            for restarts in (False, True)
            for issue in asked.client.feed_issues(restarts=restarts, limit=_FEEDS_SHOWN)
        ]
    except PricegridError as error:
        return section("Feeds that need a look", refusal(error))
    if not issues:
        return section(
            "Feeds that need a look", tag("p", "None: no events are missing, no source began anew.")
        )
    rows = []
    for issue in issues:
        runs = [str(low) if low == high else f"{low} to {high}" for low, high in issue.missing]
        more = f" and {len(runs) - _MISSING_SHOWN} more" if len(runs) > _MISSING_SHOWN else ""
        restart = f"{issue.restarts}, last number {issue.restart_sequence}" if issue.restarts else ""
        rows.append(
            (issue.source.value, issue.sku, issue.branch, ", ".join(runs[:_MISSING_SHOWN]) + more, restart)
        )
    header = ("Source", "Item", "Branch", "Numbers missing", "Seems to have begun anew")
    return section("Feeds that need a look", table("Streams of events", header, rows))
