"""Parity: compares a small sample of ordinary prices with the ERP's in the background, all day.

    request ──offer──▶ bounded queue ──thread, rate-limited──▶ gateway.compare ──▶ metrics, STORE/erp-parity.sqlite

Comparisons never delay requests: a full queue drops samples, and no comparison is made while requests use the ERP. When
the mismatches of a book exceed the limit, the book is flagged until the next load.
"""

import json
import logging
import queue
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol

from pricegrid.erp.gateway import ErpGateway
from pricegrid.erp.observe import ErpMetrics
from pricegrid.erp.operator_flags import Flag, OperatorFlags
from pricegrid.erp.settings import ParitySettings
from pricegrid.erp.validation import PriceCheck, price_of_one_micros
from pricegrid.pricing_engine.engine import PriceAnswers, PriceAsk
from pricegrid.pricing_engine.model import MICROS, ExceptionReason, LineStatus, PriceQuestion

_log = logging.getLogger(__name__)

WAITING_MAX: Final = 1_000
MISMATCHES_MAX: Final = 10_000
"""Mismatches in the file; beyond, the oldest are deleted."""
COMPARE_TIMEOUT_S: Final = 2.0
FRESH_US: Final = 5_000_000
"""Only questions about now are compared: `as_of` may be this far from it."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A line whose ordinary price differs from the ERP's."""

    snapshot_version: str
    book_id: str
    entry_id: str
    customer_id: str
    sku: str
    quantity_micros: int
    uom: str
    currency: str
    branch: str
    as_of_us: int
    ours_micros: int | None
    theirs_micros: int | None
    """None: no price."""
    at_us: int


@dataclass(slots=True)
class BookParity:
    """The numbers of comparisons and mismatches of a book."""

    checked: int = 0
    mismatched: int = 0

    @property
    def mismatch_pct(self) -> Decimal:
        """Mismatches in percent of comparisons."""
        return Decimal(100 * self.mismatched) / max(1, self.checked)


class ParityFile:
    """The comparisons of all processes of a host, in `STORE/erp-parity.sqlite`."""

    def __init__(self, store: Path) -> None:
        self._path = store / "erp-parity.sqlite"

    def add(self, version: str, book_id: str, mismatch: Mismatch | None) -> BookParity:
        """Counts one comparison; returns the numbers of the book in that snapshot."""
        with self._open() as db:
            row = db.execute(
                "INSERT INTO books VALUES (?, ?, 1, ?) ON CONFLICT (version, book) DO UPDATE SET "
                "checked = checked + 1, mismatched = mismatched + excluded.mismatched "
                "RETURNING checked, mismatched",
                (version, book_id, mismatch is not None),
            ).fetchone()
            if mismatch is not None:
                document = {name: getattr(mismatch, name) for name in Mismatch.__slots__}
                db.execute("INSERT INTO mismatches (document) VALUES (?)", (json.dumps(document),))
                db.execute(
                    "DELETE FROM mismatches WHERE id <= (SELECT max(id) FROM mismatches) - ?",
                    (MISMATCHES_MAX,),
                )
        return BookParity(*row)

    def books(self, version: str | None = None) -> Mapping[tuple[str, str], BookParity]:
        """The numbers by snapshot version and book, of one version or all."""
        if not self._path.exists():
            return {}
        with self._open() as db:
            rows = db.execute(
                "SELECT version, book, checked, mismatched FROM books WHERE version = ? OR ? IS NULL "
                "ORDER BY version, book",
                (version, version),
            ).fetchall()
        return {(each[0], each[1]): BookParity(each[2], each[3]) for each in rows}

    def mismatches(self, version: str | None = None) -> list[Mismatch]:
        """The mismatches, oldest first."""
        if not self._path.exists():
            return []
        with self._open() as db:
            rows = db.execute("SELECT document FROM mismatches ORDER BY id").fetchall()
        found = [Mismatch(**json.loads(document)) for (document,) in rows]
        return [each for each in found if version in {None, each.snapshot_version}]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self._path, timeout=5.0)
        try:
            db.execute(
                "CREATE TABLE IF NOT EXISTS books (version TEXT, book TEXT, checked INTEGER, "
                "mismatched INTEGER, PRIMARY KEY (version, book))"
            )
            db.execute(
                "CREATE TABLE IF NOT EXISTS mismatches (id INTEGER PRIMARY KEY, document TEXT NOT NULL)"
            )
            with db:
                yield db
        finally:
            db.close()


class SampledEngine(Protocol):
    """What the sampler needs of a price engine."""

    def book_id(self, book: int) -> str:
        """The id of a book, by ordinal."""

    def entry_id(self, entry: int) -> str:
        """The id of an entry, by ordinal."""

    def base_uom(self, sku: str) -> str:
        """The base unit of an item."""


class SampledSnapshot(Protocol):
    """What the sampler needs of a snapshot."""

    @property
    def version(self) -> str:
        """The snapshot's version."""

    @property
    def engine(self) -> Any:
        """A `SampledEngine`."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An ordinary answer to compare."""

    version: str
    book_id: str
    entry_id: str
    check: PriceCheck


def make_sample(loaded: SampledSnapshot, ask: PriceAsk, answers: PriceAnswers, line: int) -> Sample:
    """The sample of an answered line."""
    engine: SampledEngine = loaded.engine
    sku = ask.skus[line].decode()
    question = PriceQuestion(
        customer_id=ask.customer_id,
        sku=sku,
        quantity_micros=int(ask.quantities_micros[line]),
        as_of_us=ask.line_as_of_us(line),
        uom=ask.uoms[line].decode() or engine.base_uom(sku),
        currency=answers.currency,
        branch=ask.branch,
    )
    book, entry = int(answers.book[line]), int(answers.entry[line])
    return Sample(
        version=loaded.version,
        book_id=engine.book_id(book) if book >= 0 else "",
        entry_id=engine.entry_id(entry) if entry >= 0 else "",
        check=PriceCheck(question, price_of_one_micros(answers, line)),
    )


@dataclass(slots=True)
class ParitySampler:
    """Samples ordinary answers and compares them. `offer` is safe to call from any thread and never blocks."""

    settings: ParitySettings
    gateway: ErpGateway
    file: ParityFile
    flags: OperatorFlags
    metrics: ErpMetrics
    now_us: Callable[[], int]
    chance: Callable[[], float] = random.random
    _queue: "queue.Queue[Sample]" = field(default_factory=lambda: queue.Queue(WAITING_MAX))
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread."""
        self._thread = threading.Thread(target=self._run, name="erp-parity", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops; samples in the queue are dropped."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def is_due(self, lines: int) -> bool:
        """Draws whether to sample a request: one of its lines, with the configured probability per line."""
        return self.chance() < self.settings.sample_per_million / MICROS * lines

    def offer(self, loaded: SampledSnapshot, ask: PriceAsk, answers: PriceAnswers) -> None:
        """Samples a random line of a request that is due, if that line is ordinary."""
        line = int(self.chance() * len(ask.skus))
        if abs(ask.line_as_of_us(line) - self.now_us()) > FRESH_US:
            return
        if answers.status[line] != LineStatus.OK or answers.exception[line] != ExceptionReason.NONE:
            return
        sample = make_sample(loaded, ask, answers, line)
        try:
            self._queue.put_nowait(sample)
        except queue.Full:
            return

    def _run(self) -> None:
        pause_s = 1 / self.settings.checks_per_s
        while not self._stopping.wait(pause_s):
            if not self.gateway.has_room:
                continue
            try:
                sample = self._queue.get_nowait()
            except queue.Empty:
                continue
            try:
                self.compare([sample])
            except Exception:  # noqa: BLE001 -- whatever is wrong with one sample, the next is compared
                _log.exception("a price could not be compared with the ERP")

    def compare(self, samples: Sequence[Sample]) -> list[Sample]:
        """Compares samples now; those that the ERP does not answer are not counted, and returned."""
        found = self.gateway.compare([each.check for each in samples], monotonic() + COMPARE_TIMEOUT_S)
        unanswered: list[Sample] = []
        for sample, answer in zip(samples, found, strict=True):
            if answer is None or answer.price is None:
                unanswered.append(sample)
                continue
            theirs = answer.price.unit_price_micros
            mismatch = None
            if theirs != sample.check.matrix_price_micros:
                mismatch = _mismatch(sample, theirs, self.now_us())
            self.metrics.compared(sample.book_id, equal=mismatch is None)
            self._judge(sample, self.file.add(sample.version, sample.book_id, mismatch))
        return unanswered

    def _judge(self, sample: Sample, book: BookParity) -> None:
        settings = self.settings
        if book.checked < settings.checks_min or book.mismatch_pct <= settings.mismatch_pct_max:
            return
        reason = f"{book.mismatched} of {book.checked} prices differ from the ERP's"
        flag = Flag("book", sample.book_id, self.now_us(), reason, sample.version)
        if sample.book_id not in self.flags.read().flagged("book", sample.version) and self.flags.flag(flag):
            _log.error("book %s: %s; its prices are exceptions until the next load", sample.book_id, reason)


def _mismatch(sample: Sample, theirs_micros: int | None, now_us: int) -> Mismatch:
    question = sample.check.question
    return Mismatch(
        snapshot_version=sample.version,
        book_id=sample.book_id,
        entry_id=sample.entry_id,
        customer_id=question.customer_id,
        sku=question.sku,
        quantity_micros=question.quantity_micros,
        uom=question.uom,
        currency=question.currency,
        branch=question.branch,
        as_of_us=question.as_of_us,
        ours_micros=sample.check.matrix_price_micros,
        theirs_micros=theirs_micros,
        at_us=now_us,
    )
