"""`pricegrid inspect`: what is in a file, a dataset or a store; a customer's books; a book's entries."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pricegrid.loaders.read.arguments import add_dialect_arguments, stated_dialect
from pricegrid.loaders.tables import TABLES
from pricegrid.service.cli.text import UsageError, limit_argument, print_table

LIMIT = 50
_ENTRY_COLUMNS = (
    *(
        "sku",
        "product_group",
        "price_class",
        "branch",
        "uom",
        "min_quantity",
        "method",
        "value",
        "price_per",
        "basis",
    ),
    *("valid_from", "valid_to", "explicit_zero", "entry_id"),
)
_NUMBERS = ("min_quantity", "value", "price_per")


def _page(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < len(text) <= 9 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def add_inspect_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `pricegrid inspect`."""
    parser.add_argument("path", type=Path, metavar="PATH", help="a table's file, a dataset, or a store")
    parser.add_argument("--json", action="store_true", help="print JSON")
    of_store = parser.add_argument_group("of a store")
    what = of_store.add_mutually_exclusive_group()
    what.add_argument(
        "--customer", metavar="ID", help="the books that apply to a customer, as they are searched"
    )
    what.add_argument("--book", metavar="ID", help="the entries of a book")
    what.add_argument("--snapshot", metavar="VERSION", help="this snapshot, not the active one")
    of_store.add_argument(
        "--limit",
        type=limit_argument,
        default=LIMIT,
        metavar="N",
        help=f"entries of a page (default {LIMIT})",
    )
    of_store.add_argument("--page", type=_page, default=1, metavar="N", help="which page (default 1)")
    of_files = parser.add_argument_group("of files")
    of_files.add_argument(
        "--table",
        choices=tuple(TABLES),
        metavar="TABLE",
        help="the table that the file holds, whatever its name",
    )
    of_files.add_argument(
        "--time-zone", default="UTC", metavar="ZONE", help="zone of business dates (default UTC)"
    )
    add_dialect_arguments(parser)


def run_inspect(args: argparse.Namespace) -> int:
    """Runs `pricegrid inspect`: 0 done, 1 not possible, 2 bad usage or a dataset that can't be used."""
    from pricegrid.loaders.errors import DatasetError, LoadError

    try:
        document, show = _document(args)
    except DatasetError as error:
        print(f"pricegrid inspect: {error}", file=sys.stderr)
        return 2
    except (LoadError, OSError) as error:
        print(f"pricegrid inspect: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        show(document)
    return 0


def _document(args: argparse.Namespace) -> Any:
    from pricegrid.loaders import inspection
    from pricegrid.service.clock import now_us

    path: Path = args.path
    if not path.exists():
        raise UsageError(f"{path} doesn't exist")
    if inspection.is_store(path):
        if args.customer is not None:
            return inspection.books_of(path, args.customer, now_us()), _show_books
        if args.book is not None:
            return inspection.entries_of(path, args.book, args.page, args.limit), _show_entries
        return inspection.inspect_store(path, args.snapshot, now_us()), _show_store
    if args.customer is not None or args.book is not None or args.snapshot is not None:
        raise UsageError(f"{path} is no snapshot store: --customer, --book and --snapshot ask one")
    asked = inspection.Asked(stated_dialect(args), args.time_zone, args.table)
    if path.is_dir():
        return inspection.inspect_dataset(path, asked), _show_files
    return inspection.inspect_file(path, asked), _show_files


def _show_files(document: dict[str, Any]) -> None:
    for cause in document["causes"]:
        print(cause["text"])
    for warning in document["warnings"]:
        print(f"warning: {warning}")
    for table in document["tables"]:
        _show_table(table)


def _show_table(table: dict[str, Any]) -> None:
    rejected = f", {table['rejected']:,} rejected" if table.get("rejected") else ""
    repeated = f", {table['repeated']:,} repeated" if table.get("repeated") else ""
    print(f"\n{table['table']}: {table['rows']:,} rows{rejected}{repeated}")
    if table.get("dialect"):
        print(f"  {_dialect_text(table['dialect'])}")
    filled = [column for column in table["columns"] if column["filled"]]
    if filled:
        rows = [
            (f"  {column['column']}", f"{column['filled']:,}", f"{column['distinct']:,}", _range(column))
            for column in filled
        ]
        print_table(("  COLUMN", "FILLED", "DISTINCT", "VALUES"), rows, right=(1, 2))


def _dialect_text(dialect: dict[str, Any]) -> str:
    known = ("separator", "encoding", "line_ends", "decimal")
    parts = [
        dialect["form"],
        *(f"{name.replace('_', ' ')} {dialect[name]}" for name in known if dialect[name]),
    ]
    parts += [f"{column} {form}" for column, form in dialect["dates"].items()]
    evidence = f" ({'; '.join(dialect['evidence'])})" if dialect["evidence"] else ""
    return f"{dialect['file']}: {', '.join(parts)}{evidence}"


def _range(column: dict[str, Any]) -> str:
    if "lowest" in column:
        low, high = column["lowest"], column["highest"]
        return str(low) if low == high else f"{low} to {high}"
    if "values" in column:
        return ", ".join(f"{value} ({count:,})" for value, count in column["values"].items())
    more = ", ..." if column["distinct"] > len(column["examples"]) else ""
    return ", ".join(column["examples"]) + more


def _show_store(document: dict[str, Any]) -> None:
    print(
        f"snapshot {document['snapshot']} of {document['snapshots']}, made {document['created_at']}, "
        f"{document['size_bytes']:,} bytes, zone {document['time_zone']}"
    )
    if document["books"] is not None:
        print(_books_text(document["books"]))
    for table in document["tables"]:
        _show_table(table)


def _books_text(books: dict[str, Any]) -> str:
    counts = ", ".join(f"{age} {count:,}" for age, count in books["unchanged"].items() if count)
    text = f"price books in force, by how long they are unchanged: {counts or 'none'}"
    if books["longest"]:
        named = ", ".join(f"{each['book_id']} since {each['unchanged_since']}" for each in books["longest"])
        text += f"; longest: {named}; the last change: {books['last_changed']}"
    return text


def _show_books(document: dict[str, Any]) -> None:
    customer = document["customer"]
    said = [f"{name.replace('_', ' ')} {customer[name]}" for name in customer if customer[name] is not None]
    print(", ".join(said) + (f"; groups {' > '.join(document['groups'])}" if document["groups"] else ""))
    if document["price_classes"] not in ([], [customer["price_class"]]):
        print(f"price classes in order: {', '.join(document['price_classes'])}")
    rows = [
        (
            *(book["book_id"], f"{book['layer']} ({book['layer_rank']})", book["currency"], book["through"]),
            "" if book["priority"] is None else str(book["priority"]),
            *(book["valid_from"] or "", book["valid_to"] or "", "yes" if book["in_force"] else "no"),
        )
        for book in document["books"]
    ]
    head = ("BOOK", "LAYER (RANK)", "CURRENCY", "THROUGH", "PRIORITY", "FROM", "TO", "IN FORCE")
    print_table(head, rows, right=(4,))


def _show_entries(document: dict[str, Any]) -> None:
    print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in document["book"].items()))
    entries = document["entries"]
    present = [name for name in _ENTRY_COLUMNS if any(name in entry for entry in entries)]
    rows = [tuple(entry.get(name, "") for name in present) for entry in entries]
    right = [at for at, name in enumerate(present) if name in _NUMBERS]
    if rows:
        print_table([name.upper().replace("_", " ") for name in present], rows, right)
    more = f"; --page {document['page'] + 1} for more" if document["page"] < document["pages"] else ""
    print(f"{document['entries_total']:,} entries, page {document['page']} of {document['pages']}{more}")
