"""Rows that can't be used: each is rejected with its line, column and reason, and what depends on it falls with it."""

import pytest

from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.tables import CUSTOMER_LEVELS_MAX, GROUP_LEVELS_MAX, NAME_BYTES_MAX, UOM_BYTES_MAX
from pricegrid.loaders.validate.graphs import cyclic_edges, long_edges
from pricegrid.loaders.validate.tables import TableCounts, validate_tables
from pricegrid.service import limits
from tests.load_tables import entries, loaded, rejected, table


def test_a_dataset_without_fault_loses_nothing() -> None:
    dataset = loaded()

    assert dataset.rejects == {}
    assert dataset.warnings == []
    assert dataset.counts["price_entries"] == TableCounts(rows=2, accepted=2, rejected=0, repeated=0)


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        ("LIST, BOLT, , , , , net, 12 000, , , , ,", "value", '"12 000" has a thousands separator'),
        ("LIST, BOLT, , , , , net, -1, , , , ,", "value", '"-1" is negative'),
        ("LIST, BOLT, , , , , net, 0, , , , ,", "value", '"0" gives a price of zero without explicit_zero'),
        ("LIST, BOLT, , , , , net, 0.00, , , , false,", "value", '"0.00" gives a price of zero'),
        ("LIST, BOLT, , , , , net, , , , , ,", "value", "required and blank"),
        ("LIST, BOLT, , , , , , 1, , , , ,", "method", "required and blank"),
        (", BOLT, , , , , net, 1, , , , ,", "book_id", "required and blank"),
        ("LIST, BOLT, , , , , price, 1, , , , ,", "method", '"price" is not one of net, discount_pct'),
        ("LIST, BOLT, , , , -1, net, 1, , , , ,", "min_quantity", '"-1" is negative'),
        ("LIST, BOLT, TOOLS, , , , net, 1, , , , ,", "sku", '"BOLT" is given with product_group'),
        ("LIST, BOLT, , , , , net, 1, , , , maybe,", "explicit_zero", '"maybe" is neither true nor false'),
        ("NONE, BOLT, , , , , net, 1, , , , ,", "book_id", '"NONE" is an unknown price book'),
        ("LIST, bolt, , , , , net, 1, , , , ,", "sku", '"bolt" is an unknown SKU'),
        ("LIST, , HATS, , , , net, 1, , , , ,", "product_group", '"HATS" is an unknown product group'),
        ("LIST, NUT, , , BOX, , net, 1, , , , ,", "uom", '"BOX" is an unknown unit of item "NUT"'),
        ("LIST, , TOOLS, , CASE, , net, 1, , , , ,", "uom", '"CASE" is a unit that no item has'),
        ("LIST, , , , CASE, , net, 1, , , , ,", "uom", '"CASE" is a unit that no item has'),
        ("DEAL, BOLT, , , , , discount_pct, 5, , , , ,", "basis", "discount_pct needs a basis book"),
        ("DEAL, BOLT, , , , , multiplier, 1, , , , ,", "basis", "multiplier needs a basis book"),
        ("DEAL, BOLT, , , , , discount_pct, 5, NONE, , , ,", "basis", '"NONE" is an unknown basis'),
        ("DEAL, BOLT, , , , , discount_pct, 100, LIST, , , ,", "value", "zero without explicit_zero"),
        ("DEAL, BOLT, , , , , discount_pct, 100.01, LIST, , , ,", "value", "discount is more than 100"),
        ("DEAL, BOLT, , , , , multiplier, 0, LIST, , , ,", "value", "zero without explicit_zero"),
        ("DEAL, BOLT, , , , , multiplier, -1, LIST, , , ,", "value", "is negative"),
        ("DEAL, BOLT, , , , , markup_pct, -100, , , , ,", "value", "zero without explicit_zero"),
        ("DEAL, BOLT, , , , , markup_pct, -101, , , , ,", "value", "markup is less than -100"),
        ("DEAL, BOLT, , , , , margin_pct, 100, , , , ,", "value", "margin is not below 100"),
        (
            "DEAL, BOLT, , , , , discount_pct, 5, DEAL, , , ,",
            "basis",
            '"DEAL" leads back to this book: a cycle',
        ),
    ],
)
def test_an_entry_that_cannot_be_used(line: str, column: str, reason: str) -> None:
    dataset = loaded(entries(line, "LIST, NUT, , , , , net, 1, , , , ,"))

    found = rejected(dataset, "price_entries")
    assert [(number, where) for number, where, _ in found] == [(2, column)]
    assert reason in found[0][2]
    assert dataset.frames["price_entries"]["sku"].to_list() == ["NUT"]


@pytest.mark.parametrize(
    "line",
    [
        "LIST, BOLT, , , , , net, 0, , , , true,",
        "LIST, BOLT, , , BOX, , net, 1, , , , ,",
        "LIST, BOLT, , , EA, , net, 1, , , , ,",
        "LIST, , TOOLS, , BOX, , net, 1, , , , ,",
        "LIST, , , , EA, 2.5, net, 1, , , , ,",
        "DEAL, BOLT, , GOLD, , , discount_pct, -5, LIST, , , ,",
        "DEAL, BOLT, , , , , discount_pct, 100, LIST, , , true,",
        "DEAL, BOLT, , , , , markup_pct, -100, , , , yes,",
        "DEAL, BOLT, , , , , margin_pct, 99.999999, cost, , , ,",
    ],
)
def test_an_entry_at_the_edge_of_the_rules_is_accepted(line: str) -> None:
    assert loaded(entries(line)).counts["price_entries"].accepted == 1


def test_a_blank_basis_of_markup_and_margin_is_cost() -> None:
    dataset = loaded(
        entries(
            "LIST, BOLT, , , , , markup_pct, 5, , , , ,",
            "LIST, NUT, , , , , margin_pct, 5, , , , ,",
            "LIST, DRILL, , , , , net, 5, LIST, , , ,",
        )
    )

    assert dataset.frames["price_entries"]["basis"].to_list() == ["cost", "cost", None]


@pytest.mark.parametrize(
    ("name", "text", "column", "reason"),
    [
        ("items", "sku, base_uom, price_source\nX, EA, oracle", "price_source", "is not one of matrix, erp"),
        (
            "items",
            "sku, base_uom, product_group\nX, EA, HATS",
            "product_group",
            "is an unknown product group",
        ),
        ("items", "sku, base_uom, order_multiple\nX, EA, 0", "order_multiple", '"0" is not above zero'),
        ("items", "sku, base_uom, superseded_by\nX, EA, X", "superseded_by", '"X" supersedes itself'),
        ("items", "sku, base_uom, superseded_by\nX, EA, GONE", "superseded_by", '"GONE" is an unknown item'),
        ("items", "sku, base_uom\n, EA", "sku", "required and blank"),
        ("uoms", "sku, uom, numerator\nX, BOX, 10", "sku", '"X" is an unknown SKU'),
        ("customers", "customer_id, currency\nX, euro", "currency", '"euro" is not a currency'),
        (
            "customers",
            "customer_id, currency, parent_id\nX, EUR, Y",
            "parent_id",
            '"Y" is an unknown customer',
        ),
        ("layers", "layer, rank\nlist, first", "rank", '"first" is not a whole number'),
        ("layers", "layer, rank, mode\nlist, 1, cheapest", "mode", '"cheapest" is not one of first, lowest'),
        ("price_books", "book_id, layer, currency\nX, top, EUR", "layer", '"top" is an unknown layer'),
        ("price_books", "book_id, layer, currency\ncost, list, EUR", "book_id", "can't name a price book"),
        (
            "price_books",
            "book_id,layer,currency,floor_margin_pct\nX,list,EUR,100",
            "floor_margin_pct",
            "is not below 100",
        ),
        (
            "price_books",
            "book_id,layer,currency,rounding_mode\nX,list,EUR,odd",
            "rounding_mode",
            "is not one of half_up",
        ),
        (
            "price_books",
            "book_id,layer,currency,rounding_increment\nX,list,EUR,0",
            "rounding_increment",
            "not above zero",
        ),
        (
            "agreements",
            "book_id, customer_id\nLIST,",
            "customer_id",
            "neither customer_id nor price_class nor everyone",
        ),
        ("agreements", "book_id, customer_id, everyone\nLIST, ACME, true", "customer_id", "more than one of"),
        (
            "agreements",
            "book_id, customer_id\nLIST, NOBODY",
            "customer_id",
            '"NOBODY" is an unknown customer',
        ),
        ("agreements", "book_id, everyone\nNONE, true", "book_id", '"NONE" is an unknown price book'),
        ("costs", "sku, cost, currency\nBOLT, -1, EUR", "cost", '"-1" is negative'),
        ("costs", "sku, cost, currency\nBOLT, 1, EURO", "currency", "is not a currency"),
        (
            "exchange_rates",
            "from_currency,to_currency,rate,valid_from\nEUR,USD,0,2026-01-01",
            "rate",
            "is not above zero",
        ),
        (
            "exchange_rates",
            "from_currency,to_currency,rate,valid_from\nEUR,EUR,1,2026-01-01",
            "to_currency",
            "is also",
        ),
        (
            "exchange_rates",
            "from_currency,to_currency,rate,valid_from\nEUR,USD,1,",
            "valid_from",
            "required and blank",
        ),
        (
            "entitlements",
            "customer_id, price_class, allowed\nACME, GOLD, true",
            "customer_id",
            "exactly one of",
        ),
        (
            "entitlements",
            "customer_id, sku, product_group, allowed\nACME, BOLT, TOOLS, true",
            "sku",
            "is given with",
        ),
        ("entitlements", "customer_id, allowed\nACME,", "allowed", "required and blank"),
    ],
)
def test_a_row_of_another_table_that_cannot_be_used(name: str, text: str, column: str, reason: str) -> None:
    dataset = loaded(
        {name: text}, drop=["price_entries", "agreements"] if name == "price_books" else ["price_entries"]
    )

    found = rejected(dataset, name)
    assert [(line, where) for line, where, _ in found] == [(2, column)]
    assert reason in found[0][2]


@pytest.mark.parametrize(
    ("sku", "uom", "expected"),
    [
        ("S" * NAME_BYTES_MAX, "U" * UOM_BYTES_MAX, []),
        ("S" * (NAME_BYTES_MAX + 1), "EA", [(5, "sku", "is longer than 128 bytes")]),
        ("é" * 65, "EA", [(5, "sku", "is longer than 128 bytes")]),
        ("S", "U" * (UOM_BYTES_MAX + 1), [(5, "base_uom", "is longer than 32 bytes")]),
    ],
)
def test_a_name_that_no_request_could_ask_for(
    sku: str, uom: str, expected: list[tuple[int, str, str]]
) -> None:
    items = table(f"sku, base_uom\nBOLT, EA\nNUT, EA\nDRILL, EA\n{sku}, {uom}")

    assert rejected(validate_tables({"items": items}), "items") == expected


def test_names_may_be_as_long_as_the_service_takes_them() -> None:
    assert NAME_BYTES_MAX == limits.SKU_BYTES_MAX == limits.FIELD_BYTES_MAX
    assert UOM_BYTES_MAX == limits.UOM_BYTES_MAX


def test_rejections_cascade() -> None:
    dataset = loaded(
        {"items": "sku, base_uom\nBOLT,\nNUT, EA\nDRILL, EA", "uoms": "sku, uom, numerator\nBOLT, BOX, 9"}
    )

    assert rejected(dataset, "items") == [(2, "base_uom", "required and blank")]
    assert rejected(dataset, "uoms") == [(2, "sku", '"BOLT" is an unknown SKU')]
    assert [reason for _, _, reason in rejected(dataset, "price_entries")] == ['"BOLT" is an unknown SKU'] * 2


def test_a_cycle_of_customers_is_rejected_with_everybody_below_it() -> None:
    dataset = loaded(
        {
            "customers": """
            customer_id, currency, parent_id
            A, EUR, C
            B, EUR, A
            C, EUR, B
            D, EUR, C
            E, EUR, D
            ACME, EUR,
            """
        }
    )

    cycle, below = "leads back to this customer: a cycle", "is rejected itself, or a customer above it is"
    assert rejected(dataset, "customers") == [
        (2, "parent_id", f'"C" {cycle}'),
        (3, "parent_id", f'"A" {cycle}'),
        (4, "parent_id", f'"B" {cycle}'),
        (5, "parent_id", f'"C" {below}'),
        (6, "parent_id", f'"D" {below}'),
    ]
    assert dataset.frames["customers"]["customer_id"].to_list() == ["ACME"]


@pytest.mark.parametrize(
    ("name", "header", "depth_max"),
    [
        ("customers", "customer_id, parent_id, currency", CUSTOMER_LEVELS_MAX),
        ("product_groups", "product_group, parent", GROUP_LEVELS_MAX),
    ],
)
def test_a_hierarchy_has_a_limit_of_levels(name: str, header: str, depth_max: int) -> None:
    tail = ", EUR" if name == "customers" else ""
    lines = [f"N{i}, {f'N{i - 1}' if i else ''}{tail}" for i in range(depth_max + 2)]

    dataset = validate_tables({name: table("\n".join([header, *lines]))})

    assert dataset.counts[name].accepted == depth_max
    column = header.split(", ")[1]
    assert [(line, where) for line, where, _ in rejected(dataset, name)] == [
        (depth_max + 2, column),
        (depth_max + 3, column),
    ]


def test_a_cycle_of_supersessions_and_of_product_groups_is_rejected() -> None:
    dataset = validate_tables(
        {
            "items": table("sku, base_uom, superseded_by\nA, EA, B\nB, EA, A\nC, EA, D\nD, EA,"),
            "product_groups": table("product_group, parent\nG, H\nH, G\nI,"),
        }
    )

    assert dataset.frames["items"]["sku"].to_list() == ["C", "D"]
    assert dataset.frames["product_groups"]["product_group"].to_list() == ["I"]


BOOKS = "book_id, layer, currency\n" + "\n".join(
    f"{name}, list, EUR" for name in ("A", "B", "C", "D", "E", "F")
)


def chain(*links: str) -> list[tuple[int, str]]:
    """Rejected (line, reason) of entries, each written OWNER>BASIS (a net entry without a basis)."""
    lines = []
    for number, link in enumerate(links):
        owner, _, basis = link.partition(">")
        lines.append(
            f"{owner}, BOLT, , , , {number}, {'discount_pct' if basis else 'net'}, 5, {basis}, , , ,"
        )
    dataset = loaded({"price_books": BOOKS, **entries(*lines)}, drop=["agreements"])
    return [(line, reason) for line, _, reason in rejected(dataset, "price_entries")]


def test_all_links_of_a_cycle_of_basis_books_are_rejected_and_only_those() -> None:
    words = "leads back to this book: a cycle of basis books"

    assert chain("A>B", "B>C", "C>A", "D>A", "A") == [
        (2, f'"B" {words}'),
        (3, f'"C" {words}'),
        (4, f'"A" {words}'),
    ]
    assert chain("A>B", "B>A", "B>C", "C") == [(2, f'"B" {words}'), (3, f'"A" {words}')]


def test_a_chain_has_at_most_three_links() -> None:
    assert chain("A>B", "B>C", "C>D", "D") == []
    assert chain("A>B", "B>C", "C>D", "D>E", "E") == [(2, '"B" begins a chain of more than 3 basis books')]
    # The entry that is rejected doesn't lengthen the chain of those that lead to its book.
    assert chain("F>A", "A>B", "B>C", "C>D", "D>E", "E") == [
        (3, '"B" begins a chain of more than 3 basis books')
    ]


def test_cycles_are_found_in_graphs_of_every_shape() -> None:
    edges = table("source, target\na, b\nb, c\nc, b\nc, d\nd, e\ne, d\ne, f\nx, a\ny, y")

    assert cyclic_edges(edges).rows() == [("b", "c"), ("c", "b"), ("d", "e"), ("e", "d"), ("y", "y")]
    assert cyclic_edges(edges.clear()).is_empty()
    line = table("source, target\n" + "\n".join(f"n{i}, n{i + 1}" for i in range(500)))
    assert cyclic_edges(line).is_empty()
    assert long_edges(line, 3).height == 125


def test_conflicting_rows_are_all_rejected_and_say_what_differs() -> None:
    dataset = loaded(
        entries(
            "LIST, BOLT, , , , 5, net, 1.00, , , , , a",
            "LIST, NUT, , , , 5, net, 1.00, , , , , b",
            "LIST, BOLT, , , , 5.0, net, 2.00, , , , , c",
            "LIST, BOLT, , , , 5, net, 2.00, , , , , d",
        )
    )

    reason = (
        '"LIST BOLT 5" is the book_id, sku, product_group, price_class, branch, uom, min_quantity, valid_from, '
        "valid_to of rows that differ in value (here {}; line {}: {})"
    )
    assert rejected(dataset, "price_entries") == [
        (2, "value", reason.format(1, 4, 2)),
        (4, "value", reason.format(2, 2, 1)),
        (5, "value", reason.format(2, 2, 1)),
    ]
    assert [(cause.rows, cause.example) for cause in dataset.causes] == [(3, "LIST BOLT 5")]
    assert dataset.frames["price_entries"]["entry_id"].to_list() == ["b"]


def test_a_repeated_row_counts_once_with_a_warning() -> None:
    dataset = loaded(
        entries(
            "LIST, BOLT, , , , 5, net, 1, , , , , b",
            "LIST, BOLT, , , , 5, net, 1.0, , , , , a",
            "LIST, BOLT, , , , 5, net, 1, , , , ,",
            "LIST, NUT, , , , , net, 1, , , , ,",
            "LIST, NUT, , , , , net, 1, , , , ,",
        )
    )

    assert dataset.frames["price_entries"].select("sku", "entry_id").rows() == [("BOLT", "a"), ("NUT", None)]
    assert dataset.counts["price_entries"] == TableCounts(rows=5, accepted=2, rejected=0, repeated=3)
    assert dataset.warnings == ["price_entries.csv: 3 rows repeat another row and count once (lines 2, 4, 6)"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("items", "sku, base_uom\nBOLT, EA\nBOLT, M"),
        ("uoms", "sku, uom, numerator\nBOLT, BOX, 10\nBOLT, BOX, 12"),
        ("customers", "customer_id, currency\nACME, EUR\nACME, USD"),
        ("product_groups", "product_group, parent\nTOOLS,\nTOOLS, DRILLS"),
        ("layers", "layer, rank\nlist, 1\nlist, 2"),
        ("price_books", "book_id, layer, currency\nLIST, list, EUR\nLIST, list, USD"),
        ("agreements", "book_id, customer_id, priority\nLIST, ACME, 1\nLIST, ACME, 2"),
        ("costs", "sku, cost, currency\nBOLT, 1, EUR\nBOLT, 1, USD"),
        (
            "exchange_rates",
            "from_currency,to_currency,rate,valid_from\nEUR,USD,1,2026-01-01\nEUR,USD,2,2026-01-01",
        ),
        ("entitlements", "customer_id, sku, allowed\nACME, BOLT, true\nACME, BOLT, false"),
    ],
)
def test_conflicts_in_every_table_reject_all_rows_and_repetitions_none(name: str, text: str) -> None:
    header, first, _ = text.split("\n")

    conflict = loaded({name: text}).counts[name]
    repeated = loaded({name: f"{header}\n{first}\n{first}"}, drop=["price_entries"]).counts[name]

    assert conflict == TableCounts(rows=2, accepted=0, rejected=2, repeated=0)
    assert repeated.rejected + repeated.accepted == 1
    assert repeated.repeated == 1


def test_a_class_that_no_customer_is_in_is_only_a_warning() -> None:
    dataset = loaded(entries("LIST, BOLT, , SILVER, , , net, 1, , , , ,"))

    assert dataset.counts["price_entries"].accepted == 1
    assert dataset.warnings == ['price_entries.csv: 1 price classes that no customer is in: "SILVER"']


def test_missing_tables_mean_none_of_that_thing() -> None:
    dataset = loaded(
        drop=["layers", "agreements", "uoms", "customers", "product_groups"],
        changes={"items": "sku, base_uom\nBOLT, EA"},
    )

    assert dataset.frames["layers"].rows() == [("default", 0, "first", "owner")]
    assert set(dataset.frames["price_books"]["layer"]) == {"default"}
    agreements = dataset.frames["agreements"]
    assert agreements.select("book_id", "everyone", "inherit").rows() == [
        ("LIST", True, True),
        ("DEAL", True, True),
    ]
    assert dataset.frames["stock"].is_empty()
    assert dataset.frames["agreements"].schema == loaded().frames["agreements"].schema


def test_branches_are_checked_only_where_there_is_a_table_of_them() -> None:
    costs = {"costs": "sku, cost, currency, branch\nBOLT, 1, EUR, NORTH\nNUT, 1, EUR,"}

    assert loaded(costs).counts["costs"].rejected == 0
    with_branches = loaded({**costs, "branches": "branch\nSOUTH"})
    assert rejected(with_branches, "costs") == [(2, "branch", '"NORTH" is an unknown branch')]


def test_defaults_are_filled_in() -> None:
    frames = loaded().frames

    book = frames["price_books"].row(0, named=True)
    assert book["below_minimum"] == "fall_through"
    assert (book["rounding_increment_micros"], book["rounding_mode"]) == (1, "half_up")
    assert book["floor_margin_micros"] is None
    assert frames["items"]["price_source"].to_list() == ["matrix"] * 3
    assert frames["layers"].row(0, named=True) == {
        "layer": "contract",
        "rank": 1,
        "mode": "first",
        "ladder": "owner",
    }
    assert frames["agreements"]["inherit"].to_list() == [True, True]
    assert frames["agreements"]["everyone"].to_list() == [True, False]


def test_an_unknown_table_or_a_missing_column_stops_the_load() -> None:
    with pytest.raises(DatasetError, match='unknown table "prices"'):
        validate_tables({"prices": table("sku\nA")})
    with pytest.raises(DatasetError, match=r"items\.csv: required column base_uom is missing"):
        validate_tables({"items": table("sku\nA")})


def test_without_layers_the_one_layer_has_the_name_that_all_books_give_it() -> None:
    books = "book_id, layer, currency\nLIST, contract, EUR\nDEALER, contract, EUR"
    dataset = loaded(drop=["layers"], changes={"price_books": books})

    assert dataset.frames["layers"].rows() == [("contract", 0, "first", "owner")]
