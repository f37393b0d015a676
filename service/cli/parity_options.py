"""The options of `pricegrid parity`; apart from what it runs, so that `--help` needs neither engine nor ERP."""

import argparse
from pathlib import Path

SAMPLE = 200


def add_parity_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `parity`."""
    parser.add_argument("--store", metavar="DIR", type=Path, required=True, help="the store that is served")
    parser.add_argument(
        "--snapshot-version", metavar="V", help="of this snapshot only (default: the active one)"
    )
    parser.add_argument("--erp-config", metavar="FILE", type=Path, help="compare lines now with this ERP")
    parser.add_argument(
        "--other-erp-config",
        metavar="FILE",
        type=Path,
        help="compare that ERP with this one instead: a dual run",
    )
    parser.add_argument(
        "--mastering",
        metavar="FILE",
        type=Path,
        help="of a dual run: which ERP owns what, to say who is right",
    )
    parser.add_argument(
        "--lines", metavar="FILE", type=Path, help="CSV of lines: customer_id,sku,quantity,uom,currency"
    )
    parser.add_argument(
        "--sample",
        metavar="N",
        type=int,
        default=SAMPLE,
        help="without --lines: so many, drawn (default %(default)s)",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="of the draw (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
