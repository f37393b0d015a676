"""Fills an empty Tryton database with a small distributor, the same one every time.

Run by `build.sh` with the interpreter of Tryton's own environment: python seed.py trytond.conf DATABASE [TODAY]

Sixty items in five categories, twelve price lists (breaks, dated lines, formulas, a parent, a break in packs, one that
no dataset can hold), sixteen customers in two currencies, two warehouses with stock, receipts and shipments to come.
"""

import datetime as dt
import sys
from decimal import Decimal
from typing import Any

from proteus import Model, config

# A seeded database is the same one every time but for the day it counts from.
ITEMS = 60
CATEGORIES = ("Fasteners", "Tools", "Paint", "Cable", "Pipes")
SAVE_MAX = 50  # Tryton fails on larger ones


def save(records: list[Any]) -> list[Any]:
    """Saves in pieces."""
    for start in range(0, len(records), SAVE_MAX):
        type(records[0]).save(records[start : start + SAVE_MAX])
    return records


def make_company(today: dt.date) -> tuple[Any, Any]:
    """A company that calculates in euros, and the dollar."""
    Currency, Rate = Model.get("currency.currency"), Model.get("currency.currency.rate")
    Party, Company, User = Model.get("party.party"), Model.get("company.company"), Model.get("res.user")
    euro = Currency(name="Euro", symbol="EUR", code="EUR", rounding=Decimal("0.01"), digits=2)
    dollar = Currency(name="US Dollar", symbol="USD", code="USD", rounding=Decimal("0.01"), digits=2)
    euro.rates.append(Rate(date=today - dt.timedelta(days=400), rate=Decimal(1)))
    dollar.rates.append(Rate(date=today - dt.timedelta(days=400), rate=Decimal("1.0850")))
    dollar.rates.append(Rate(date=today + dt.timedelta(days=20), rate=Decimal("1.1125")))
    save([euro, dollar])
    party = Party(name="Nordwerk Supply")
    party.save()
    company = Company(party=party, currency=euro)
    company.save()
    user = User(config.get_config().user)
    user.companies.append(company)
    user.company = company
    user.save()
    config.get_config()._context = User.get_preferences(True, {})  # noqa: SLF001 -- the documented way
    return euro, dollar


def make_items() -> tuple[list[Any], Any]:
    """The items, with packs of twelve beside pieces, and their categories."""
    Uom, UomCategory = Model.get("product.uom"), Model.get("product.uom.category")
    Template, Category = Model.get("product.template"), Model.get("product.category")
    (unit,) = Uom.find([("name", "=", "Unit")])
    (units,) = UomCategory.find([("name", "=", "Units")])
    dozen = Uom(name="Box of 12", symbol="BX12", category=units, factor=12.0, rate=round(1 / 12, 12))
    dozen.save()
    (metre,) = Uom.find([("name", "=", "Meter")])
    root = Category(name="Everything")
    root.save()
    categories = save([Category(name=name, parent=root) for name in CATEGORIES])
    templates = []
    for number in range(ITEMS):
        template = Template(name=f"Item {number}")
        template.type, template.salable = "goods", True
        cable = number % len(CATEGORIES) == CATEGORIES.index("Cable")
        template.default_uom = metre if cable else unit
        template.sale_uom = metre if cable else (dozen if number % 10 == 1 else unit)
        template.list_price = Decimal(7 + number * 3) + Decimal(number % 7) / 8 + Decimal("0.05")
        template.categories.append(Category(categories[number % len(CATEGORIES)].id))
        (product,) = template.products
        product.suffix_code = f"N-{number:03d}"
        product.cost_price = Decimal(4 + number * 2) + Decimal(number % 5) / 16
        templates.append(template)
    save(templates)
    Product = Model.get("product.product")
    return Product.find([], order=[("code", "ASC")]), categories


def line(price_list: Any, formula: str, **fields: Any) -> None:
    """One more line at the end of a price list."""
    Line = Model.get("product.price_list.line")
    row = Line(formula=formula, sequence=len(price_list.lines) + 1)
    for name, value in fields.items():
        setattr(row, name, value)
    price_list.lines.append(row)


def make_price_lists(products: list[Any], categories: list[Any], today: dt.date) -> list[Any]:
    """Twelve price lists; the last is beyond what a dataset can hold."""
    PriceList = Model.get("product.price_list")
    lists = []
    for number in range(10):
        price_list = PriceList(name=f"PL{number}", price="list_price" if number % 4 else "cost_price")
        price_list.unit = "product_sale" if number == 3 else "product_default"
        soon, later = today + dt.timedelta(days=10), today + dt.timedelta(days=25)
        own = products[number * 5 : number * 5 + 5]
        for product in own:  # larger breaks first: the first line that matches wins
            line(price_list, "unit_price * 0.8125", product=product, quantity=48.0)
            line(price_list, f"{11 + number}.35", product=product, quantity=12.0, start_date=soon)
            line(price_list, "unit_price * 0.915 + 0.125", product=product, quantity=12.0)
        line(
            price_list,
            "list_price * 0.9333",
            category=categories[number % 5],
            start_date=soon,
            end_date=later - dt.timedelta(days=1),
        )
        line(price_list, "list_price / 1.07", category=categories[(number + 1) % 5], quantity=2.5)
        if number != 5:  # PL5 gives no price below its breaks, nor beyond its categories
            line(
                price_list, "unit_price * 1.25" if price_list.price == "cost_price" else "unit_price * 0.975"
            )
        lists.append(price_list)
    save(lists)
    child = PriceList(name="PL10", price="list_price", unit="product_default", parent=lists[1])
    line(child, "parent_unit_price * 0.97", quantity=24.0)
    line(child, "parent_unit_price * 0.99")
    odd = PriceList(name="PL11", price="list_price", unit="product_default")
    line(odd, "unit_price - unit_price % 5", product=products[0])  # beyond the extract: asked from the ERP
    line(odd, "unit_price if unit_price > cost_price * 2 else cost_price * 2.5", product=products[1])
    line(odd, "unit_price * 0.88")
    return [*lists, *save([child, odd])]


def make_customers(lists: list[Any], dollar: Any) -> None:
    """Sixteen: one for each price list, two without one, two in dollars."""
    Party = Model.get("party.party")
    customers = []
    for number, price_list in enumerate([*lists, None, None, lists[1], lists[5]]):
        party = Party(name=f"Customer {number}", code=f"C{number:03d}")
        party.sale_price_list = price_list
        if number >= 14:
            party.customer_currency = dollar
        customers.append(party)
    save(customers)


def make_stock(products: list[Any], company: Any, euro: Any, today: dt.date) -> list[int]:
    """Two warehouses, what is in them, and what is to come and go; the moves to be reserved."""
    Location, Move = Model.get("stock.location"), Model.get("stock.move")
    (first,) = Location.find([("type", "=", "warehouse")])
    first.code = "HAM"
    first.save()
    zones = [Location(name=f"RTM {kind}", type="storage") for kind in ("input", "output", "storage")]
    lost = Location(name="RTM lost", type="lost_found")
    save([*zones, lost])
    second = Location(name="Rotterdam", code="RTM", type="warehouse", lost_found_location=lost)
    second.input_location, second.output_location, second.storage_location = zones
    second.save()
    (found,) = Location.find([("type", "=", "lost_found"), ("name", "!=", "RTM lost")], limit=1)
    (supplier,) = Location.find([("code", "=", "SUP")])
    (customer,) = Location.find([("code", "=", "CUS")])
    storages = (Location(first.storage_location.id), Location(second.storage_location.id))

    def move(product: Any, quantity: float, source: Any, target: Any, day: dt.date) -> Any:
        row = Move(product=product, quantity=quantity, from_location=source, to_location=target)
        row.unit, row.planned_date = product.default_uom, day
        row.effective_date = day if day <= today else None
        row.company = company
        if supplier in (source, target) or customer in (source, target):
            row.unit_price, row.currency = Decimal(1), euro
        return row

    opening = [
        move(p, float(20 + 7 * n + 3 * w), found, storages[w], today - dt.timedelta(days=3))
        for n, p in enumerate(products)
        for w in (0, 1)
        if (n + w) % 9
    ]
    save(opening)
    for start in range(0, len(opening), SAVE_MAX):
        Move.click(opening[start : start + SAVE_MAX], "do")
    coming = [
        move(p, float(10 + n), supplier, storages[n % 2], today + dt.timedelta(days=2 + n % 20))
        for n, p in enumerate(products[:40])
    ]
    going = [
        move(p, float(5 + n % 11), storages[n % 2], customer, today + dt.timedelta(days=1 + n % 28))
        for n, p in enumerate(products[10:50])
    ]
    going += [move(p, 2.0, storages[0], storages[1], today + dt.timedelta(days=4)) for p in products[20:26]]
    late = move(products[59], 30.0, supplier, storages[0], today - dt.timedelta(days=2))
    late.effective_date = None
    save([*coming, *going, late])
    return [m.id for n, m in enumerate(going) if n % 3 == 0]


def reserve(database: str, moves: list[int]) -> None:
    """Assigns moves; only the server itself can."""
    from trytond.pool import Pool
    from trytond.transaction import Transaction

    context = {**config.get_config()._context, "_skip_warnings": True}  # noqa: SLF001
    with Transaction().start(database, config.get_config().user, context=context):
        Move = Pool().get("stock.move")
        Move.assign(Move.browse(moves))


def main() -> None:
    """Seeds the database that the command line names."""
    configuration, database = sys.argv[1:3]
    today = dt.date.fromisoformat(sys.argv[3]) if len(sys.argv) > 3 else dt.date.today()  # noqa: DTZ011
    config.set_trytond(f"sqlite:///{database}", config_file=configuration)
    euro, dollar = make_company(today)
    products, categories = make_items()
    lists = make_price_lists(products, categories, today)
    make_customers(lists, dollar)
    (company,) = Model.get("company.company").find([])
    reserve(database, make_stock(products, company, euro, today))


if __name__ == "__main__":
    main()
