"""`pricegrid events`: publishes a file of inventory events, one JSON object a line; the rest is in `feeds`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pricegrid
from pricegrid.limits import EVENTS_PER_MESSAGE, EVENTS_PER_MESSAGE_MAX
from pricegrid.loaders.errors import DatasetError
from pricegrid.service.cli.client import add_where_arguments, answer, live_client
from pricegrid.service.cli.feeds import add_feeds_arguments, run_feeds
from pricegrid.service.cli.text import UsageError, print_json_list

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from pricegrid.atp.rules.events import Event

_LINES_SHOWN = 20
_PROGRESS_S = 0.2


def add_events_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `events`."""
    commands = parser.add_subparsers(dest="events_command", required=True, metavar="COMMAND")
    add_feeds_arguments(commands)
    publish = commands.add_parser(
        "publish",
        help="publish a file of events",
        description="Publishes inventory events, one JSON object a line, with the members source, sequence, "
        "effective_time, measure, kind, sku, branch, quantity, expected_at, order_ref, order_line, version, "
        "shipped, receipt_kind, confidence, supersedes. "
        "A line that is none is kept by the server as a dead letter.",
        allow_abbrev=False,
    )
    publish.add_argument("file", metavar="FILE", help="JSON Lines; - reads standard input")
    add_where_arguments(publish)
    publish.set_defaults(timeout=None)
    publish.add_argument(
        "--time-zone", metavar="ZONE", type=_zone, help="where a date without a time of day begins"
    )
    publish.add_argument(
        "--batch",
        metavar="N",
        type=_batch,
        default=EVENTS_PER_MESSAGE,
        help="events a message, each of which is made durable at once (default %(default)s)",
    )


def run_events(args: argparse.Namespace) -> int:
    """Publishes; 0 when all events count or say nothing new, 1 when there are dead letters. Or looks after feeds."""
    if args.events_command != "publish":
        return run_feeds(args)

    def ask() -> int:
        with _opened(args.file) as file, live_client(args) as client:
            reading = Reading(args.time_zone, shows_progress=sys.stderr.isatty())
            try:
                result = client.publish_events(
                    reading.events(file), events_per_message=args.batch, timeout_s=args.timeout
                )
            finally:
                reading.end_progress()
        if args.json:
            print_json_list([_json(result, reading)])
        else:
            _print(result, reading)
        return 1 if result.dead_letter or result.refused else 0

    return answer(ask)


@dataclass(slots=True)
class Reading:
    """The lines of a file on their way to the server, and what was wrong with some of them."""

    zone: ZoneInfo | None = None
    shows_progress: bool = False
    unreadable: list[tuple[int, str, str]] = field(default_factory=list)
    """Line number from 1, reason and detail."""
    read: int = 0
    _shown_s: float = 0.0

    def events(self, lines: IO[bytes]) -> Iterator[pricegrid.InventoryEvent | pricegrid.UnreadableEvent]:
        """What each line says; empty lines say nothing."""
        from pricegrid.service.codec.event_json import EventError, event_from_json

        for number, line in enumerate(lines, 1):
            text = line.strip()
            if not text:
                continue
            self.read += 1
            self._progress()
            try:
                yield client_event(event_from_json(text, self.zone))
            except EventError as error:
                self.unreadable.append((number, error.reason.name, error.detail))
                yield pricegrid.UnreadableEvent(
                    text.decode(errors="backslashreplace"), f"line {number}: {error.detail}"
                )

    def _progress(self) -> None:
        if self.shows_progress and time.monotonic() - self._shown_s > _PROGRESS_S:
            self._shown_s = time.monotonic()
            print(f"\r{self.read:,} events sent", end="", file=sys.stderr, flush=True)

    def end_progress(self) -> None:
        """Ends the line that shows it."""
        if self._shown_s:
            print(f"\r{self.read:,} events sent", file=sys.stderr)


def client_event(event: Event) -> pricegrid.InventoryEvent:
    """An event as the client takes it."""
    from pricegrid.results import decimal_from_micros, instant_from_us

    return pricegrid.InventoryEvent(
        source=pricegrid.InventorySource[event.source.name],
        sequence=event.sequence,
        effective=instant_from_us(event.effective_us),
        measure=pricegrid.InventoryMeasure[event.measure.name],
        kind=pricegrid.InventoryEventKind[event.kind.name],
        sku=event.sku,
        branch=event.branch,
        quantity=decimal_from_micros(event.quantity_micros),
        expected_at=None if event.expected_at_us is None else instant_from_us(event.expected_at_us),
        order_ref=event.order_ref,
        order_line=event.order_line,
        version=event.version,
        shipped=None if event.shipped_micros is None else decimal_from_micros(event.shipped_micros),
        receipt_kind=None
        if event.receipt_kind is None
        else pricegrid.InventoryReceiptKind[event.receipt_kind.name],
        confidence=None if event.confidence_micros is None else decimal_from_micros(event.confidence_micros),
        supersedes=event.supersedes,
    )


@contextlib.contextmanager
def _opened(name: str) -> Iterator[IO[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 -- closed below; a failure to open is told apart from one to read
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error
    with file:
        yield file


def _json(result: pricegrid.PublishResult, reading: Reading) -> dict[str, object]:
    return {
        "applied": result.applied,
        "duplicate": result.duplicate,
        "older": result.older,
        "dead_letter": result.dead_letter,
        "dead_letter_ids": result.dead_letter_ids,
        "gaps": result.gaps,
        "refused": result.refused,
        "restarts": result.restarts,
        "unreadable": [
            {"line": number, "reason": reason, "detail": detail}
            for number, reason, detail in reading.unreadable
        ],
        "correlation_id": result.correlation_id,
    }


def _print(result: pricegrid.PublishResult, reading: Reading) -> None:
    print(
        f"{result.applied:,} applied, {result.duplicate:,} known already, {result.older:,} older than what is known, "
        f"{result.dead_letter:,} dead letter{'' if result.dead_letter == 1 else 's'}"
    )
    if result.gaps:
        print(f"{result.gaps:,} times an event was missing: figures are stale until it or the next set comes")
        print("`pricegrid events gaps` names them")
    if result.restarts:
        print(
            f"{result.restarts:,} came under a number that was passed already: has their source begun anew?"
        )
        print("`pricegrid events restarts` names them, `pricegrid events reset` lets a source begin anew")
    if result.refused:
        print(
            f"{result.refused:,} can't be applied and are kept nowhere: there is no room for more dead letters"
        )
    for number, reason, detail in reading.unreadable[:_LINES_SHOWN]:
        print(f"line {number}: {reason}: {detail}")
    if len(reading.unreadable) > _LINES_SHOWN:
        print(f"... and {len(reading.unreadable) - _LINES_SHOWN:,} lines more")
    if result.dead_letter:
        print("`pricegrid dead-letters list` shows what could not be applied")


def _zone(name: str) -> ZoneInfo:
    from pricegrid.loaders.read.instants import time_zone

    try:
        return time_zone(name)
    except DatasetError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _batch(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:9]) <= EVENTS_PER_MESSAGE_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {EVENTS_PER_MESSAGE_MAX}")
    return int(text)
