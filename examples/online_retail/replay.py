"""Ask a Pricegrid server for every Online Retail line at its invoice time, and compare with what was invoiced.

    python examples/online_retail/replay.py --data ../shared/data/online-retail --address 127.0.0.1:50051
    python examples/online_retail/replay.py --data ../shared/data/online-retail --store STORE

One request per customer and invoice instant. A line without customer asks as everyone, in GBP; a return asks with its
negative quantity. Exit code 0: no request failed and every difference has a reason; 1 otherwise.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
import polars as pl

from build import CURRENCY, MICROS, TYPED_BY_HAND, read_lines

LINES_PER_REQUEST_MAX = 10_000
FAILED_REQUESTS_MAX = 50  # then give up: the server is gone, or this is not its dataset
TIMEOUT_S = 30.0

REASONS = {
    "negative_amount": "negative amount: bad debt written off, not a price",
    "price_zero": "price 0: stock written off, samples and free goods, not a price",
    "typed_by_hand": "amount typed by hand: postage of web orders, fees, discounts, corrections",
    "two_prices_at_once": "same customer, item and instant at two prices that no quantity break explains",
    "no_customer_trade_price": "no customer on the line, yet invoiced at a price that only named customers get",
    "no_customer_other_price": "no customer, invoiced at a retail price of another time or quantity",
    "no_customer_single_price": "no customer, invoiced at a price that no other line without customer has",
}
UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer to one line: `unit_price_micros` is None without a price, `layer` '' then."""

    status: str
    unit_price_micros: int | None
    layer: str
    reproduced: bool | None = None
    """Whether its explanation gives the price again from its own numbers; None: not asked for."""


Asker = Callable[[str, int, Sequence[str], Sequence[int]], list[Answer]]  # customer, at_us, skus, quantities


@dataclass(slots=True)
class Report:
    """Counts of one replay."""

    lines: int = 0
    requests: int = 0
    exact: int = 0
    explained: Counter[str] = field(default_factory=Counter)
    unexplained: int = 0
    errors: int = 0
    reproduced: int = 0
    not_reproduced: int = 0
    exact_by_layer: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    examples: list[dict[str, object]] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """The report as JSON members."""
        return {
            "lines": self.lines,
            "requests": self.requests,
            "exact": self.exact,
            "explained": {name: self.explained[name] for name in REASONS},
            "unexplained": self.unexplained,
            "errors": self.errors,
            "reproduced": self.reproduced,
            "not_reproduced": self.not_reproduced,
            "exact_by_layer": dict(self.exact_by_layer.most_common()),
            "statuses": dict(self.statuses.most_common()),
            "seconds": round(self.seconds, 2),
            "lines_per_second": round(self.lines / self.seconds) if self.seconds else 0,
            "examples": self.examples,
        }


def requests(lines: pl.DataFrame) -> Iterator[list[tuple[str, int, str, int, int]]]:
    """Lines as (customer, at_us, sku, quantity, price_micros), one list per customer and instant."""
    ordered = lines.sort("at_us", "customer", maintain_order=True)
    rows = ordered.select("customer", "at_us", "sku", "quantity", "price_micros").iter_rows()
    for _, group in groupby(rows, key=itemgetter(0, 1)):
        yield from split(list(group))


def split(rows: list[tuple[str, int, str, int, int]]) -> list[list[tuple[str, int, str, int, int]]]:
    """Parts of at most LINES_PER_REQUEST_MAX."""
    return [rows[at : at + LINES_PER_REQUEST_MAX] for at in range(0, len(rows), LINES_PER_REQUEST_MAX)]


class Explainer:
    """Why a line was not invoiced at the answered price, judged from the invoices alone."""

    def __init__(self, lines: pl.DataFrame) -> None:
        priced = lines.filter(pl.col("price_micros") > 0)
        at_once = priced.group_by("customer", "sku", "at_us").agg(
            pl.col("price_micros").n_unique().alias("prices")
        )
        self._two_prices = set(
            at_once.filter(pl.col("prices") > 1).select("customer", "sku", "at_us").iter_rows()
        )
        named = pl.col("customer") != ""
        self._named = set(priced.filter(named).select("sku", "price_micros").iter_rows())
        self._anonymous = Counter(priced.filter(~named).select("sku", "price_micros").iter_rows())

    def reason(self, customer: str, at_us: int, sku: str, paid_micros: int) -> str:
        """One of REASONS, or UNEXPLAINED."""
        if paid_micros < 0:
            return "negative_amount"
        if paid_micros == 0:
            return "price_zero"
        if sku in TYPED_BY_HAND:
            return "typed_by_hand"
        if (customer, sku, at_us) in self._two_prices:
            return "two_prices_at_once"
        if customer:
            return UNEXPLAINED
        if self._anonymous[sku, paid_micros] > 1 and (sku, paid_micros) not in self._named:
            return "no_customer_other_price"
        return "no_customer_trade_price" if (sku, paid_micros) in self._named else "no_customer_single_price"


def replay(lines: pl.DataFrame, ask: Asker, *, progress: Callable[[int], None] = lambda _: None) -> Report:
    """Ask every line and count the outcome. A failed request counts its lines as errors; too many end the replay."""
    report, explainer = Report(), Explainer(lines)
    failed = 0
    for batch in requests(lines):
        if failed == FAILED_REQUESTS_MAX:
            break
        customer, at_us = batch[0][0], batch[0][1]
        started = time.perf_counter()
        try:
            answers = ask(customer, at_us, [row[2] for row in batch], [row[3] for row in batch])
        except Exception as error:  # noqa: BLE001 - whatever went wrong is part of the report
            failed += 1
            report.errors += len(batch)
            note_example(report, "error", customer, at_us, batch[0], str(error))
            answers = []
        report.seconds += time.perf_counter() - started
        report.requests += 1
        report.lines += len(batch)
        if answers and len(answers) != len(batch):
            raise ValueError(f"{len(answers)} answers to {len(batch)} lines")
        for row, answer in zip(batch, answers, strict=False):
            judge(report, explainer, row, answer)
        progress(report.lines)
    return report


def judge(report: Report, explainer: Explainer, row: tuple[str, int, str, int, int], answer: Answer) -> None:
    """Count one answer."""
    customer, at_us, sku, _, paid_micros = row
    report.statuses[answer.status] += 1
    report.reproduced += answer.reproduced is True
    report.not_reproduced += answer.reproduced is False
    if answer.unit_price_micros == paid_micros:
        report.exact += 1
        report.exact_by_layer[answer.layer] += 1
        return
    reason = explainer.reason(customer, at_us, sku, paid_micros)
    if reason == UNEXPLAINED:
        report.unexplained += 1
        note_example(report, reason, customer, at_us, row, f"{answer.status} {answer.unit_price_micros}")
    else:
        report.explained[reason] += 1


def note_example(
    report: Report, kind: str, customer: str, at_us: int, row: tuple[str, int, str, int, int], answer: str
) -> None:
    """Keep the first few lines that need a look."""
    if len(report.examples) < 20:
        at = datetime.fromtimestamp(at_us / MICROS, UTC).isoformat()
        _, _, sku, quantity, paid_micros = row
        example = {"kind": kind, "customer": customer, "at": at, "sku": sku, "quantity": quantity}
        report.examples.append({**example, "paid_micros": paid_micros, "answer": answer})


def server_asker(address: str) -> Asker:
    """Asks a running server over gRPC."""
    import pricegrid

    client = pricegrid.Client(address)

    def ask(customer: str, at_us: int, skus: Sequence[str], quantities: Sequence[int]) -> list[Answer]:
        result = client.price_lines(
            customer,
            [pricegrid.Line(sku, quantity) for sku, quantity in zip(skus, quantities, strict=True)],
            currency=CURRENCY,
            as_of=datetime.fromtimestamp(at_us // MICROS, UTC),
            timeout_s=TIMEOUT_S,
        )
        return [
            Answer(
                line.status.value,
                None if line.unit_price is None else int(line.unit_price.scaleb(6)),
                line.layer,
            )
            for line in result.lines
        ]

    return ask


def store_asker(store: Path, *, explain: bool = False) -> Asker:
    """Asks the active snapshot of a store in this process, without a server; with `explain` explains every price."""
    from pricegrid.loaders.store.snapshot import open_snapshot
    from pricegrid.pricing_engine.engine import PriceAnswers, PriceAsk, PriceEngine
    from pricegrid.pricing_engine.model import LineStatus
    from pricegrid.pricing_engine.rules.explain import reproduce

    engine = PriceEngine(open_snapshot(store).arrays)

    def ask(customer: str, at_us: int, skus: Sequence[str], quantities: Sequence[int]) -> list[Answer]:
        question = PriceAsk(
            customer_id=customer,
            currency=CURRENCY,
            branch="",
            as_of_us=at_us,
            skus=[sku.encode() for sku in skus],
            quantities_micros=np.array(quantities, dtype=np.int64) * MICROS,
            uoms=[b""] * len(skus),
        )
        answers = engine.price(question)
        return [answer(question, answers, line) for line in range(len(skus))]

    def answer(question: PriceAsk, answers: PriceAnswers, line: int) -> Answer:
        status = LineStatus(answers.status[line])
        if status != LineStatus.OK:
            return Answer(status.name, None, "")
        unit, extended = int(answers.unit_price_micros[line]), int(answers.extended_price_micros[line])
        reproduced = reproduce(engine.explain(question, line)) == (unit, extended) if explain else None
        return Answer(status.name, unit, engine.layer_name(int(answers.layer[line])), reproduced)

    return ask


def print_progress(done: int, total: int) -> None:
    """A line on a terminal that is rewritten as the replay goes."""
    if sys.stderr.isatty():
        print(f"\r{done:,} of {total:,} lines", end="" if done < total else "\n", file=sys.stderr)


def print_report(report: Report) -> None:
    """The report as text."""
    share = report.exact / report.lines if report.lines else 0.0
    print(f"{report.lines:>9,}  lines asked in {report.requests:,} requests, {report.seconds:.1f} s")
    print(f"{report.exact:>9,}  exactly as invoiced ({share:.2%})")
    for layer, count in report.exact_by_layer.most_common():
        print(f"{count:>15,}  from layer {layer}")
    print(f"{sum(report.explained.values()):>9,}  not, for a known reason")
    for name, text in REASONS.items():
        print(f"{report.explained[name]:>15,}  {text}")
    print(f"{report.unexplained:>9,}  not, unexplained")
    print(f"{report.errors:>9,}  in requests that failed")
    if report.reproduced or report.not_reproduced:
        print(f"{report.reproduced:>9,}  prices that their explanation gives again from its own numbers")
        print(f"{report.not_reproduced:>9,}  prices that it does not")
    for example in report.examples:
        print("         ", json.dumps(example))


def main() -> int:
    parser = argparse.ArgumentParser(description="Replay the Online Retail invoices against Pricegrid.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the invoices")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--address", help="HOST:PORT of a running server")
    where.add_argument("--store", type=Path, help="answer in this process from the store's active snapshot")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--explain", action="store_true", help="with --store: explain every price as well, and check"
    )
    args = parser.parse_args()
    if args.explain and not args.store:
        parser.error("--explain goes with --store")
    lines = read_lines(args.data)
    ask = server_asker(args.address) if args.address else store_asker(args.store, explain=args.explain)
    report = replay(lines, ask, progress=lambda done: print_progress(done, lines.height))
    if args.json:
        print(json.dumps(report.as_json()))
    else:
        print_report(report)
    return 1 if report.errors or report.unexplained or report.not_reproduced else 0


if __name__ == "__main__":
    sys.exit(main())
