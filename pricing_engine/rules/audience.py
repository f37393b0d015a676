"""Who may have which price: ancestry, classes, books and entitlements of a customer, levels of an item (P1, P4, P11,
P18)."""

from collections.abc import Iterable, Iterator

from pricegrid.pricing_engine.model import PRIORITY_FIRST, Agreement, Customer, Entry, Item, PriceData


def item_levels(data: PriceData, item: Item) -> Iterator[tuple[str, str]]:
    """The item's levels, most specific first: its sku, its product groups upward, every item (P4)."""
    yield "sku", item.sku
    group = item.product_group
    while group is not None:
        yield "product_group", group
        group = data.group_parent.get(group)
    yield "every_item", ""


def break_group_of(data: PriceData, item: Item) -> str | None:
    """The break group of an item: its own, else that of the nearest product group that has one (P19)."""
    if item.break_group:
        return item.break_group
    groups = (name for kind, name in item_levels(data, item) if kind == "product_group")
    return next((data.group_breaks[name] for name in groups if name in data.group_breaks), None)


def ancestry(data: PriceData, customer: Customer) -> Iterator[Customer]:
    """The customer and its ancestors upward."""
    each: Customer | None = customer
    while each is not None:
        yield each
        each = data.customers[each.parent_id] if each.parent_id else None


def price_classes(data: PriceData, customer: Customer | None) -> tuple[tuple[str, int], ...]:
    """The customer's price classes in order, else those of its nearest ancestor that has any (P18).

    Each with its rank: classes of equal priority are equally near. The class in the customer's own row is the first,
    unless a row of `customer_classes` gives it a priority.
    """
    for each in ancestry(data, customer) if customer else ():
        priorities = {
            row.price_class: row.priority for row in data.customer_classes.get(each.customer_id, ())
        }
        if each.price_class:
            priorities.setdefault(each.price_class, PRIORITY_FIRST)
        if priorities:
            ranks = sorted(set(priorities.values()))
            ordered = sorted(priorities, key=lambda name: (priorities[name], name))
            return tuple((name, ranks.index(priorities[name])) for name in ordered)
    return ()


def is_entitled(data: PriceData, customer: Customer | None, levels: Iterable[tuple[str, str]]) -> bool:
    """P11: the customer's rows beat an ancestor's, those its classes'; inside, sku, nearest group, every item."""
    if customer is None:
        return True
    owners = [("customer", each.customer_id) for each in ancestry(data, customer)]
    owners += [("class", name) for name, _ in price_classes(data, customer)]
    rows: dict[tuple[str, str, str, str], bool] = {}
    for row in data.entitlements:
        owner = ("customer", row.customer_id) if row.customer_id else ("class", row.price_class or "")
        level = (
            ("sku", row.sku)
            if row.sku
            else ("product_group", row.product_group)
            if row.product_group
            else ("every_item", "")
        )
        rows[(*owner, *level)] = row.allowed
    for owner in owners:
        for level in levels:
            allowed = rows.get((*owner, *level))
            if allowed is not None:
                return allowed
    return True


def agreement_distance(data: PriceData, customer: Customer | None, agreement: Agreement) -> int | None:
    """The hierarchy distance of an agreement (P1): 0 own, 1.. ancestors, classes by rank, everyone; None: not this
    customer's."""
    chain = list(ancestry(data, customer)) if customer else []
    ranks = dict(price_classes(data, customer))
    if agreement.everyone:
        return len(chain) + 1 + max(ranks.values(), default=0)
    if agreement.price_class:
        rank = ranks.get(agreement.price_class)
        return None if rank is None else len(chain) + rank
    for distance, each in enumerate(chain):
        if each.customer_id == agreement.customer_id:
            return distance if distance == 0 or agreement.inherit else None
    return None


def customer_stack(data: PriceData, customer: Customer | None, as_of_us: int) -> dict[str, tuple[int, int]]:
    """book_id -> its best (hierarchy distance, priority) among the agreements valid at `as_of_us` (P1, P2, P10)."""
    stack: dict[str, tuple[int, int]] = {}
    for book_id, agreements in data.agreements.items():
        for agreement in agreements:
            if not agreement.valid_from_us <= as_of_us < agreement.valid_to_us:
                continue
            distance = agreement_distance(data, customer, agreement)
            if distance is not None:
                rank = (distance, agreement.priority)
                stack[book_id] = min(stack.get(book_id, rank), rank)
    return stack


def entry_level(entry: Entry) -> tuple[str, str]:
    """The item level of an entry, as `item_levels` names it."""
    if entry.sku:
        return "sku", entry.sku
    if entry.product_group:
        return "product_group", entry.product_group
    return "every_item", ""
