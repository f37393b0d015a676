"""Asks what part numbers name, as the rule pages say: `customer_id, scheme, code -> item`, an item as `SKU[:UOM]`."""

from collections.abc import Sequence

from pricegrid.loaders.compile.other_names import compile_other_names
from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.loaders.validate.tables import Dataset
from pricegrid.pricing_engine.arrays.other_names import OtherNames
from pricegrid.pricing_engine.engine import PriceEngine
from pricegrid.service.methods.resolve_names import PartAsk, resolve
from pricegrid.service.process.snapshots import LoadedSnapshot
from tests.page_examples import Asked


def check_names(dataset: Dataset, as_of_us: int, rows: Sequence[Asked]) -> None:
    """Each row by itself."""
    arrays = {**compile_prices(dataset.frames), **compile_other_names(dataset.frames)}
    loaded = LoadedSnapshot("", 0, PriceEngine(arrays), dataset.time_zone, names=OtherNames(arrays))
    for row in rows:
        ask = PartAsk(row.asked["scheme"], row.asked["code"], as_of_us)
        [found] = resolve(loaded, row.asked["customer_id"], [ask], service_desk=False)
        told = " or ".join(f"{each.sku}:{each.uom}".rstrip(":") for each in found)
        assert told == row.expected["item"], row
