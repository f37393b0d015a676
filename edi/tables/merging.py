"""A table of a dataset with rows of its own replaced: written beside, then put in place at once."""

import csv
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pricegrid.edi.tables.names import DatasetFolderError, csv_of


class NewRows:
    """Rows for a table, written to a file beside it as they come."""

    def __init__(self, dataset: Path, table: str, columns: Sequence[str]) -> None:
        self.table = table
        self.columns = tuple(columns)
        self.count = 0
        self._dataset = dataset
        self._rows = dataset / f".{table}.rows"
        self._stream = self._rows.open("w", encoding="utf-8", newline="")
        self._writer: Any = csv.writer(self._stream, lineterminator="\n")

    def add(self, row: Sequence[str]) -> None:
        """One row, in the order of the columns."""
        self._writer.writerow(row)
        self.count += 1

    def put_in_place(self, is_replaced: Callable[[Mapping[str, str]], bool]) -> None:
        """The table again: its rows without those that are replaced, and the new ones. Columns of both are kept."""
        self._stream.close()
        path = csv_of(self._dataset, self.table)
        new = self._dataset / f".{self.table}.csv"
        with new.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            header = list(self.columns)
            if path is not None:
                header = self._copy(path, writer, is_replaced)
            else:
                writer.writerow(header)
            with self._rows.open(encoding="utf-8", newline="") as rows:
                if header == list(self.columns):
                    shutil.copyfileobj(rows, stream)
                else:
                    writer.writerows(_arranged(csv.reader(rows), self.columns, header))
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(self._dataset / f"{self.table}.csv")
        self.discard()

    def _copy(self, path: Path, writer: Any, is_replaced: Callable[[Mapping[str, str]], bool]) -> list[str]:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            header = next(reader, [])
            if not set(self.columns) & set(header):
                raise DatasetFolderError(f"{path} has no column that is known; commas must separate columns")
            more = [column for column in self.columns if column not in header]
            writer.writerow([*header, *more])
            blank = [""] * len(more)
            for row in reader:
                if len(row) == len(header) and is_replaced(dict(zip(header, row, strict=True))):
                    continue
                writer.writerow([*row, *blank] if len(row) == len(header) else row)
        return [*header, *more]

    def discard(self) -> None:
        """Removes what was written beside."""
        self._stream.close()
        self._rows.unlink(missing_ok=True)


def _arranged(
    rows: Iterable[Sequence[str]], columns: Sequence[str], header: Sequence[str]
) -> Iterable[list[str]]:
    places = [columns.index(column) if column in columns else -1 for column in header]
    for row in rows:
        yield [row[at] if at >= 0 else "" for at in places]
