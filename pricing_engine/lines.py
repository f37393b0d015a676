"""The lines of a request as columns: names, quantities and units, and the form in which kernels take them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray

from pricegrid.pricing_engine.kernels import price as kn


class Texts(Sequence[bytes]):
    """One text of each line of a request, cut out of the request's bytes when it is read."""

    __slots__ = ("_raw", "_spans")

    def __init__(self, raw: bytes, spans: NDArray[np.int64]) -> None:
        """`spans` (n, 2): where each text begins in `raw`, and its length."""
        self._raw, self._spans = raw, spans

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return list(Texts(self._raw, self._spans[index]))
        at, length = self._spans[index].tolist()
        return self._raw[at : at + length]

    def __iter__(self) -> Iterator[bytes]:
        raw = self._raw
        return iter([raw[at : at + length] for at, length in self._spans.tolist()])


@dataclass(frozen=True, slots=True, eq=False)
class LineColumns:
    """The n lines of a request."""

    skus: Sequence[bytes]
    """UTF-8."""
    quantities_micros: NDArray[np.int64]
    """(n,) in the requested unit."""
    uoms: Sequence[bytes]
    """UTF-8; b'' is the base unit."""
    as_of_us: NDArray[np.int64] | None = None
    """(n,) the instant of each line (P20), NO_AS_OF where it is the request's; None: of all."""
    decoded: tuple[NDArray[np.uint8], NDArray[np.int64]] | None = None
    """`for_kernel()` of lines that were decoded into that form."""

    @classmethod
    def over(cls, raw: bytes, rows: NDArray[np.int64]) -> Self:
        """Lines whose names lie in `raw`; `rows` (n, LINE_SIZE) int64, which must not change any more."""
        return cls(
            Texts(raw, rows[:, kn.LINE_SKU : kn.LINE_SKU_LENGTH + 1]),
            rows[:, kn.LINE_QUANTITY].copy(),
            Texts(raw, rows[:, kn.LINE_UOM : kn.LINE_UOM_LENGTH + 1]),
            rows[:, kn.LINE_AS_OF].copy(),
            (np.frombuffer(raw, np.uint8), rows),
        )

    def at(self, as_of_us: NDArray[np.int64]) -> Self:
        """The same lines at other instants, (n,) as the field."""
        decoded = None
        if self.decoded is not None:
            raw, rows = self.decoded[0], self.decoded[1].copy()
            rows[:, kn.LINE_AS_OF] = as_of_us
            decoded = raw, rows
        return replace(self, as_of_us=as_of_us, decoded=decoded)

    def for_kernel(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """All names as one u8 array, and (n, LINE_SIZE) int64 that says where each is."""
        if self.decoded is not None:
            return self.decoded
        rows = np.empty((len(self.skus), kn.LINE_SIZE), dtype=np.int64)
        rows[:, kn.LINE_QUANTITY] = self.quantities_micros
        rows[:, kn.LINE_AS_OF] = kn.NO_AS_OF if self.as_of_us is None else self.as_of_us
        end = 0
        for names, start, length in (
            (self.skus, kn.LINE_SKU, kn.LINE_SKU_LENGTH),
            (self.uoms, kn.LINE_UOM, kn.LINE_UOM_LENGTH),
        ):
            rows[:, length] = np.fromiter(map(len, names), np.int64, len(names))
            ends = end + np.cumsum(rows[:, length])
            rows[:, start] = ends - rows[:, length]
            end = int(ends[-1]) if len(ends) else end
        return np.frombuffer(b"".join((*self.skus, *self.uoms)), dtype=np.uint8), rows
