"""Compile what others call items, units, customers and places: frames in, the arrays of
`pricing_engine.arrays.other_names` out; none for a table without rows."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from pricegrid.loaders.compile.ordinals import Arrays, Frames, Ordinals, columns, numbers, string_table
from pricegrid.pricing_engine.arrays import other_names as on
from pricegrid.pricing_engine.rules.part_numbers import gtin_of


def compile_other_names(frames: Frames) -> Arrays:
    """All arrays of other names of a snapshot."""
    arrays = _part_numbers(frames) if frames["part_numbers"].height else {}
    arrays.update(_text_map("unit_code", frames["unit_codes"], ("system", "code", "sku"), ["uom"]))
    places = _with_kind(frames["ship_tos"], (on.ZONE, "zone"), (on.BRANCH, "branch"))
    arrays.update(_text_map("ship_to", places, ("customer_id", "ship_to"), ["_kind", "_of", "name"]))
    parties = _with_kind(
        frames["party_codes"], (on.CUSTOMER, "customer_id"), (on.SHIP_TO, "ship_to"), (on.BRANCH, "branch")
    )
    arrays.update(_text_map("party_code", parties, ("scheme", "code"), ["_kind", "_of"]))
    return arrays


def _part_numbers(frames: Frames) -> Arrays:
    ordinals = Ordinals.from_frames(frames)
    classes = ordinals.names["price_class"]
    of_nobody = pl.col("price_class").is_not_null() & ~pl.col("price_class").is_in(classes.implode())
    frame = frames["part_numbers"].filter(~of_nobody)
    if not frame.height:
        return {}
    keys = np.array(
        [
            on.part_key(scheme, gtin_of(code) if scheme == "gtin" else code, any_case=any_case).encode()
            for scheme, code, any_case in frame.select("scheme", "code", "any_case").iter_rows()
        ],
        dtype=object,
    )
    rows = columns(
        ordinals.of("sku", frame, "sku"),
        ordinals.of("uom", frame, "uom"),
        ordinals.of("customer", frame, "customer_id"),
        ordinals.of("price_class", frame, "price_class"),
        numbers(frame, "valid_from_us"),
        numbers(frame, "valid_to_us"),
    )
    distinct, place = np.unique(keys, return_inverse=True)
    order = np.lexsort((*rows.T[::-1], place))
    starts = np.searchsorted(place[order], np.arange(len(distinct) + 1), "left")
    return {
        **string_table("part", [key.decode() for key in distinct]),
        "part_starts": starts.astype(np.int64),
        "part_rows": rows[order],
    }


def _with_kind(frame: pl.DataFrame, *kinds: tuple[str, str]) -> pl.DataFrame:
    """The frame with what each row is of, and its name."""
    kind = pl.coalesce(pl.when(pl.col(column).is_not_null()).then(pl.lit(word)) for word, column in kinds)
    return frame.with_columns(_kind=kind, _of=pl.coalesce(column for _, column in kinds))


def _text_map(name: str, frame: pl.DataFrame, key: Sequence[str], value: Sequence[str]) -> Arrays:
    if not frame.height:
        return {}

    def joined(parts: Sequence[str]) -> pl.Expr:
        return pl.concat_str((pl.col(part).fill_null("") for part in parts), separator=on.SEPARATOR)

    both = frame.select(key=joined(key), value=joined(value)).sort("key")
    return {**string_table(name, both["key"]), **string_table(f"{name}_value", both["value"])}
