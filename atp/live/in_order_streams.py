"""The in-order ERP streams of many pairs, in arrays: taken over from `Stream`, and given back."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.kernels import in_order_streams as kernel
from pricegrid.atp.live.positions import LiveWriter
from pricegrid.atp.model import INT64_MAX, INT64_MIN, NO_INSTANT, Source
from pricegrid.atp.rules.events import Event, Kind, Measure
from pricegrid.atp.rules.rows import Pair, Stock
from pricegrid.atp.rules.stream import SINGLE_FIGURE, Stream
from pricegrid.atp.rules.streams import Base

EVENTS_MAX = 256
"""Of a stream that is kept here: one that often has to be given back costs no more than this each time."""
_ROOM = 1_024
T = TypeVar("T", bound=np.generic)
_CHAINS = ((kernel.PAIR_EVENT, Measure.ON_HAND), (kernel.PAIR_EVENT_UNAVAILABLE, Measure.UNAVAILABLE))


class InOrderStreams:
    """Used by one thread at a time. A pair's *index* is its row in `pairs`."""

    def __init__(self) -> None:
        self.pairs = np.zeros((_ROOM, kernel.PAIR_COLUMNS), np.int64)
        self.count = 0
        self._texts = np.zeros(_ROOM * 16, np.uint8)
        self._text_end = 0
        self._slots = np.zeros(2 * _ROOM, np.int64)
        self._log = np.zeros((_ROOM, kernel.LOG_COLUMNS), np.int64)
        self._head = np.zeros(kernel.HEAD_SIZE, np.int64)
        self._head[kernel.HEAD_FREE] = -1

    def add(self, pair: Pair, item: int, branch: int, *, is_held: bool) -> int:
        """The index of a pair that had none; its stream is not kept here yet."""
        sku, name = pair[0].encode(), pair[1].encode()
        text, index = sku + name, self.count
        if index == len(self.pairs):
            self.pairs = _doubled(self.pairs, index + 1)
            self._slots = np.zeros(2 * len(self.pairs), np.int64)
            kernel.add_slots(self.pairs, self._texts, self._slots, 0, index)
        self._texts = _doubled(self._texts, self._text_end + len(text))
        self._texts[self._text_end : self._text_end + len(text)] = np.frombuffer(text, np.uint8)
        row = self.pairs[index]
        row[kernel.PAIR_ITEM], row[kernel.PAIR_BRANCH] = item, branch
        row[kernel.PAIR_TEXT] = self._text_end
        row[kernel.PAIR_SKU_LENGTH], row[kernel.PAIR_BRANCH_LENGTH] = len(sku), len(name)
        row[kernel.PAIR_HELD] = is_held
        self._text_end += len(text)
        self.count += 1
        kernel.add_slots(self.pairs, self._texts, self._slots, index, index + 1)
        return index

    def set_held(self, index: int) -> None:
        """From now on reservations touch the pair."""
        self.pairs[index, kernel.PAIR_HELD] = 1

    def is_in_order(self, index: int) -> bool:
        """Whether the pair's ERP stream is kept here."""
        return index >= 0 and bool(self.pairs[index, kernel.PAIR_LAST])

    def take_over(self, index: int, base: Base, stream: Stream) -> bool:
        """Keep the stream here from now on, if it is in order."""
        if len(stream.spans) != 1 or len(stream.events) > EVENTS_MAX or stream.resets or stream.waiting:
            return False
        instants = [each.effective_us for each in stream.events]
        if not instants or instants != sorted(instants):
            return False
        (first, last), loaded = stream.spans[0], base.rows.stock
        on_hand, unavailable = (loaded.on_hand_micros, loaded.unavailable_micros) if loaded else (0, 0)
        figures = (on_hand, unavailable, *(each.quantity_micros for each in stream.events), last)
        if not all(INT64_MIN <= figure <= INT64_MAX for figure in figures) or not all(
            map(_is_figure_only, stream.events)
        ):
            return False
        is_unknown = base.rows.is_unknown
        row = self.pairs[index]
        row[kernel.PAIR_FIRST : kernel.PAIR_ON_HAND] = (
            first,
            0,
            base.erp_us,
            on_hand,
            base.erp_us != NO_INSTANT and not is_unknown,
            unavailable,
            loaded.as_of_us if loaded else NO_INSTANT,
            is_unknown,
        )
        events = [
            (each.sequence, each.effective_us, each.measure, each.kind, each.quantity_micros)
            for each in stream.events
        ]
        self._make_room(len(events))
        if not kernel.adopt(row, self._log, self._head, np.array(events, np.int64).reshape(-1, 5)):
            return False
        row[kernel.PAIR_LAST], row[kernel.PAIR_NEWEST] = last, instants[-1]
        return True

    def stream(self, index: int, pair: Pair) -> Stream:
        """The stream of a pair that is kept here, as `streams` has it."""
        events = []
        row = self.pairs[index]
        for column, measure in _CHAINS:
            at = int(row[column])
            while at >= 0:
                sequence, effective_us, kind, quantity, at = self._log[at].tolist()
                events.append(Event(Source.ERP, sequence, effective_us, measure, Kind(kind), *pair, quantity))
        events.sort(key=lambda event: event.sequence)
        return Stream(events, [(int(row[kernel.PAIR_FIRST]), int(row[kernel.PAIR_LAST]))])

    def drop(self, index: int, pair: Pair) -> Stream:
        """The stream of a pair, which from now on is not kept here any more."""
        stream = self.stream(index, pair)
        kernel.drop(self.pairs[index], self._log, self._head)
        return stream

    def stock(self, index: int) -> Stock | None:
        """The stock of a pair that is kept here; `streams.stock_of` is the same for any stream."""
        row = self.pairs[index].tolist()
        as_of_us = max(row[kernel.PAIR_AS_OF], row[kernel.PAIR_AS_OF_UNAVAILABLE])
        if not row[kernel.PAIR_KNOWN] or as_of_us == row[kernel.PAIR_AFTER]:
            return None
        return Stock(row[kernel.PAIR_ON_HAND], as_of_us, max(0, row[kernel.PAIR_UNAVAILABLE]))

    def indices(self, raw: bytes, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) the index of the pair of each row of a message, -1 where it has none."""
        indices = np.empty(len(rows), np.int64)
        kernel.find_pairs(np.frombuffer(raw, np.uint8), rows, self.pairs, self._texts, self._slots, indices)
        return indices

    def is_undecided(self, rows: NDArray[np.int64], indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) the rows that `fold` does not decide, whatever comes before them."""
        is_in_order = (indices >= 0) & (self.pairs[indices, kernel.PAIR_LAST] != 0)
        found: NDArray[np.bool_] = ~is_in_order | (rows[:, kernel.ROW_FORM] != kernel.FIGURE_ONLY)
        return found

    def fold(
        self, rows: NDArray[np.int64], indices: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Apply the events of streams in order: (n,) status of each, or UNDECIDED, and the indices of changed pairs."""
        self._make_room(len(rows))
        status, touched = np.empty(len(rows), np.uint8), np.empty(len(rows), np.int64)
        count = kernel.fold(rows, indices, self.pairs, self._log, self._head, status, touched)
        return status, touched[:count]

    def held(self, indices: NDArray[np.int64]) -> Sequence[int]:
        """Those that reservations touch, or did."""
        found: list[int] = indices[self.pairs[indices, kernel.PAIR_HELD] != 0].tolist()
        return found

    def publish(self, writer: LiveWriter, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Write the stock of some pairs to the live positions; returns those left, from the first that is not live."""
        return indices[kernel.publish(writer.arrays, self.pairs, indices) :]

    def _make_room(self, events: int) -> None:
        self._log = _doubled(self._log, int(self._head[kernel.HEAD_NEXT]) + events)


def _is_figure_only(event: Event) -> bool:
    """Whether it says nothing but one figure."""
    return event.measure in SINGLE_FIGURE and not event.carries_more


def _doubled(array: NDArray[T], length: int) -> NDArray[T]:
    """The array with room for so many."""
    room = len(array)
    if length <= room:
        return array
    while room < length:
        room *= 2
    larger = np.zeros((room, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
