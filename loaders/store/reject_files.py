"""`STORE/rejects/TABLE.csv`: what a load could not use, safe to open in a spreadsheet.

A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return for a formula. Such a cell
gets an apostrophe before it; so does one that begins with an apostrophe, so that taking away one leading apostrophe
gives back every cell as it was.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

_NEUTRALISED: Final = "=+-@\t\r'"


def write_rejects(folder: Path, rejects: Mapping[str, pl.DataFrame]) -> dict[str, Path]:
    """Replaces the files of the folder by the rejects of this load."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.csv"):
        stale.unlink()
    paths = {name: folder / f"{name}.csv" for name in rejects}
    for name, path in paths.items():
        neutralised(rejects[name]).write_csv(path)
    return paths


def neutralised(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with no text, nor name of a column, that a spreadsheet would take for a formula."""
    safe = frame.select(
        pl.when(pl.col(name).str.slice(0, 1).is_in(list(_NEUTRALISED)))
        .then(pl.lit("'") + pl.col(name))
        .otherwise(pl.col(name))
        .alias(name)
        if dtype == pl.String
        else pl.col(name)
        for name, dtype in frame.schema.items()
    )
    return safe.rename(lambda name: f"'{name}" if name[:1] in _NEUTRALISED and name else name)
