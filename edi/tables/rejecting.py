"""Rows of documents that can't be used: kept with where they stand and why."""

import csv
from pathlib import Path
from typing import IO, Any

from pricegrid.edi.documents.sets import Document
from pricegrid.edi.syntax.model import Segment

COLUMNS = ("kind", "control", "segment", "byte", "tag", "part_numbers", "reason")
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "'")


class Rejects:
    """The rejected rows of a file; the file of them exists only if there is one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._stream: IO[str] | None = None
        self._writer: Any = None
        path.unlink(missing_ok=True)

    def add(self, document: Document, segment: Segment, numbers: str, reason: str) -> None:
        """One row."""
        if self._stream is None:
            self._stream = self.path.open("w", encoding="utf-8", newline="")
            self._writer = csv.writer(self._stream, lineterminator="\n")
            self._writer.writerow(COLUMNS)
        self.count += 1
        row = (document.kind, document.control, segment.number, segment.offset, segment.tag, numbers, reason)
        self._writer.writerow([_safe(str(each)) for each in row])

    def close(self) -> None:
        """Ends the file."""
        if self._stream is not None:
            self._stream.close()


def _safe(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULAS) else text
