"""`pricegrid parity`: how ordinary prices compare with the ERP's, and two ERPs with each other.

Without `--erp-config` it reports what the servers' samplers have found. With it, lines are compared now. With
`--other-erp-config` the same lines are asked of two ERPs: the dual-run report.
"""

import argparse
import asyncio
import csv
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from pricegrid.cache.memory import MemoryValueCache
from pricegrid.erp.dead_letters import DeadLetterFile
from pricegrid.erp.gateway import ErpGateway
from pricegrid.erp.mastering import NO_MASTERING, Mastering
from pricegrid.erp.observe import NoErpMetrics
from pricegrid.erp.operator_flags import OperatorFlags
from pricegrid.erp.parity import BookParity, Mismatch, ParityFile, ParitySampler, Sample, make_sample
from pricegrid.erp.protocol import ErpConfigError, ErpError
from pricegrid.erp.settings import read_settings
from pricegrid.pricing_engine.engine import PriceAsk
from pricegrid.pricing_engine.model import MICROS, ExceptionReason, LineStatus, PriceQuestion
from pricegrid.requests import quantity_micros
from pricegrid.service.cli.text import UsageError, decimal_text, parse_decimal, print_json_list, print_table
from pricegrid.service.clock import instant_of_us, instant_text, now_us

QUANTITIES = ("1", "5", "12", "50", "144")
TIMEOUT_MS = 10_000
UNANSWERED_NAMED = 5
"""How many lines without an answer are named."""
_COLUMNS = ("customer_id", "sku", "quantity", "uom", "currency")


@dataclass(frozen=True, slots=True)
class AskedLine:
    """One line to compare."""

    customer_id: str
    sku: str
    quantity_micros: int
    uom: str
    currency: str


def run_parity(args: argparse.Namespace) -> int:
    """Reports: 0 all equal, 1 there are differences, or it could not be done."""
    from pricegrid.loaders.errors import SnapshotError
    from pricegrid.pricing_engine.errors import PricingError

    if args.other_erp_config and not args.erp_config:
        raise UsageError("--other-erp-config goes with --erp-config")
    try:
        if args.other_erp_config:
            return _dual_run(args)
        return _parity(args)
    except ErpConfigError as error:
        raise UsageError(str(error)) from None
    except (ErpError, PricingError, SnapshotError, OSError) as error:
        print(f"pricegrid: {error}", file=sys.stderr)
        return 1


def _parity(args: argparse.Namespace) -> int:
    from pricegrid.pricing_engine.model import ExceptionPolicy
    from pricegrid.service.process.bootstrap import open_snapshot_engines

    loaded, arrays = open_snapshot_engines(args.store, args.snapshot_version, ExceptionPolicy(), verify=False)
    file = ParityFile(args.store)
    asked, unanswered = 0, list[Sample]()
    if args.erp_config:
        asked, unanswered = _compare_now(args, loaded, arrays, file)
    books = {book: parity for (_, book), parity in file.books(loaded.version).items()}
    mismatches = file.mismatches(loaded.version)
    flagged = OperatorFlags(args.store).read().flagged("book", loaded.version)
    explained = [(each, _explanation(loaded, each)) for each in mismatches]
    if args.json:
        print_json_list(
            [
                *(_book_row(book, parity, book in flagged) for book, parity in books.items()),
                *(_mismatch_row(each, steps) for each, steps in explained),
            ]
        )
    else:
        _print_parity(loaded.version, books, flagged, explained, asked)
    if unanswered:
        questions = (each.check.question for each in unanswered[:UNANSWERED_NAMED])
        named = ", ".join(
            f"{each.customer_id} {each.sku}:{_text(each.quantity_micros)}" for each in questions
        )
        more = ", ..." if len(unanswered) > UNANSWERED_NAMED else ""
        text = f"the ERP gave no usable answer for {len(unanswered)} of {asked} lines, which are not compared"
        print(f"pricegrid: {text}: {named}{more}", file=sys.stderr)
    return 1 if mismatches or unanswered else 0


def _compare_now(
    args: argparse.Namespace, loaded: Any, arrays: Mapping[str, Any], file: ParityFile
) -> tuple[int, list[Sample]]:
    """(how many lines were looked at, those that the ERP did not answer)."""
    settings = read_settings(args.erp_config)
    settings = replace(settings, limits=replace(settings.limits, timeout_ms=TIMEOUT_MS))
    gateway = ErpGateway(settings, MemoryValueCache(), DeadLetterFile(args.store), NoErpMetrics(), now_us)
    sampler = ParitySampler(settings.parity, gateway, file, OperatorFlags(args.store), NoErpMetrics(), now_us)
    gateway.start()
    try:
        by_customer: dict[tuple[str, str], list[AskedLine]] = {}
        unanswered: list[Sample] = []
        lines = _lines(args, arrays)
        for line in lines:
            by_customer.setdefault((line.customer_id, line.currency), []).append(line)
        for (customer_id, currency), theirs in by_customer.items():
            ask = _price_ask(customer_id, currency, theirs)
            answers = loaded.engine.price(ask)
            ordinary = [
                at
                for at in range(len(theirs))
                if answers.status[at] == LineStatus.OK and answers.exception[at] == ExceptionReason.NONE
            ]
            unanswered += sampler.compare([make_sample(loaded, ask, answers, at) for at in ordinary])
        return len(lines), unanswered
    finally:
        gateway.close()


def _price_ask(customer_id: str, currency: str, lines: Sequence[AskedLine]) -> PriceAsk:
    import numpy as np

    return PriceAsk(
        customer_id=customer_id,
        currency=currency,
        branch="",
        as_of_us=now_us(),
        skus=[line.sku.encode() for line in lines],
        quantities_micros=np.array([line.quantity_micros for line in lines], np.int64),
        uoms=[line.uom.encode() for line in lines],
        service_desk=True,
    )


def _lines(args: argparse.Namespace, arrays: Mapping[str, Any]) -> list[AskedLine]:
    if args.lines:
        return read_asked_lines(args.lines)
    from pricegrid.columnar.names import Names

    skus, customers = (
        Names(arrays[f"{name}_bytes"], arrays[f"{name}_offsets"]) for name in ("sku", "customer")
    )
    if not len(customers) or not len(skus):
        raise UsageError("the snapshot has no customers or no items to draw from: say --lines FILE")
    draw = random.Random(args.seed)  # noqa: S311 -- a sample that can be drawn again
    return [
        AskedLine(
            customers[draw.randrange(len(customers))],
            skus[draw.randrange(len(skus))],
            quantity_micros(Decimal(draw.choice(QUANTITIES))),
            "",
            "",
        )
        for _ in range(args.sample)
    ]


def read_asked_lines(path: Path) -> list[AskedLine]:
    """Lines of a CSV file; raises UsageError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            names = set(rows.fieldnames or ())
            if not {"customer_id", "sku"} <= names or names - set(_COLUMNS):
                raise UsageError(f"{path}: the header must be {','.join(_COLUMNS)}, the last three optional")
            return [
                AskedLine(
                    row["customer_id"],
                    row["sku"],
                    quantity_micros(parse_decimal(row.get("quantity") or "1")),
                    row.get("uom") or "",
                    row.get("currency") or "",
                )
                for row in rows
            ]
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error


def _explanation(loaded: Any, each: Mismatch) -> list[str]:
    """How our price came about, a step a line."""
    line = AskedLine(each.customer_id, each.sku, each.quantity_micros, each.uom, each.currency)
    ask = replace(
        _price_ask(each.customer_id, each.currency, [line]), as_of_us=each.as_of_us, branch=each.branch
    )
    steps: Any = loaded.engine.explain(ask, 0)["steps"]
    return [f"{step['step']}: {step['price']} {step['currency']} ({step['detail']})" for step in steps]


def _book_row(book: str, parity: BookParity, flagged: bool) -> dict[str, object]:
    return {
        "book_id": book,
        "checked": parity.checked,
        "mismatched": parity.mismatched,
        "mismatch_pct": f"{parity.mismatch_pct:.2f}",
        "flagged": flagged,
    }


def _mismatch_row(each: Mismatch, steps: Sequence[str]) -> dict[str, object]:
    return {
        "book_id": each.book_id,
        "entry_id": each.entry_id,
        "customer_id": each.customer_id,
        "sku": each.sku,
        "quantity": _text(each.quantity_micros),
        "uom": each.uom,
        "currency": each.currency,
        "as_of": instant_text(instant_of_us(each.as_of_us)),
        "ours": _text(each.ours_micros),
        "erp": _text(each.theirs_micros),
        "steps": list(steps),
    }


def _text(micros: int | None) -> str | None:
    return None if micros is None else decimal_text(Decimal(micros) / MICROS)


def _print_parity(
    version: str,
    books: Mapping[str, BookParity],
    flagged: frozenset[str],
    explained: Sequence[tuple[Mismatch, Sequence[str]]],
    asked: int,
) -> None:
    rows = [
        (
            book or "(none)",
            str(parity.checked),
            str(parity.mismatched),
            f"{parity.mismatch_pct:.2f}",
            "exceptions until the next load" if book in flagged else "",
        )
        for book, parity in books.items()
    ]
    print_table(("BOOK", "CHECKED", "DIFFERENT", "PERCENT", ""), rows, right=(1, 2, 3))
    for each, steps in explained:
        theirs = _text(each.theirs_micros) or "no price"
        print(
            f"\n{each.customer_id} {each.sku}:{_text(each.quantity_micros)}:{each.uom} in {each.currency}:"
            f" ours {_text(each.ours_micros)}, the ERP's {theirs} (book {each.book_id}, entry {each.entry_id})"
        )
        for step in steps:
            print(f"  {step}")
    checked = sum(parity.checked for parity in books.values())
    note = f"; {asked} asked just now" if asked else ""
    print(f"\nsnapshot {version}: {checked} compared, {len(explained)} different{note}")


def _dual_run(args: argparse.Namespace) -> int:
    from pricegrid.erp.adapters import make_adapter
    from pricegrid.erp.dual_run import DualRun, Verdict, dual_run
    from pricegrid.pricing_engine.model import ExceptionPolicy
    from pricegrid.service.process.bootstrap import open_snapshot_engines

    loaded, arrays = open_snapshot_engines(args.store, args.snapshot_version, ExceptionPolicy(), verify=False)
    mastering = Mastering.read(args.mastering) if args.mastering else NO_MASTERING
    questions = []
    for line in _lines(args, arrays):
        ask = _price_ask(line.customer_id, line.currency, [line])
        currency = (
            line.currency or loaded.engine.price(ask).currency
        )  # two ERPs may know whom the snapshot doesn't
        uom = line.uom or loaded.engine.base_uom(line.sku)
        questions.append(
            PriceQuestion(line.customer_id, line.sku, line.quantity_micros, ask.as_of_us, uom, currency)
        )

    async def run() -> DualRun:
        settings = read_settings(args.erp_config)
        first, second = make_adapter(settings), make_adapter(read_settings(args.other_erp_config))
        try:
            return await dual_run(first, second, questions, mastering, settings.validation)
        finally:
            await first.close()
            await second.close()

    report = asyncio.run(run())
    differing = [line for line in report.lines if line.verdict is not Verdict.EQUAL]
    rows = [
        {
            "verdict": line.verdict.value,
            "customer_id": line.question.customer_id,
            "sku": line.question.sku,
            "quantity": _text(line.question.quantity_micros),
            "uom": line.question.uom,
            "currency": line.question.currency,
            report.first: _text(line.first_micros),
            report.second: _text(line.second_micros),
            "owner": report.owner,
            "why": line.why or None,
        }
        for line in differing
    ]
    if args.json:
        print_json_list(rows)
    else:
        if rows:
            print_table(
                [name.upper() for name in rows[0]], [[str(v or "-") for v in row.values()] for row in rows]
            )
        counts = ", ".join(f"{count} {verdict.value}" for verdict, count in sorted(report.counts.items()))
        owner = f"; prices are {report.owner}'s" if report.owner else ""
        print(f"\n{report.first} against {report.second}: {counts}{owner}")
    return 1 if differing else 0
