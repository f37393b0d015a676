"""What the demo distributor sells: departments, product groups and items with believable names, units and costs.

Everything follows from the seed. Money is int64 micros of EUR per base unit.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
import polars as pl

Axis = tuple[str, ...]  # values "text|CODE" or plain text that is its own code

THREADS: Axis = ("M3", "M4", "M5", "M6", "M8", "M10", "M12", "M14", "M16", "M20", "M24", "M30")
LENGTHS: Axis = tuple(
    f"x {mm} mm|{mm}" for mm in (10, 12, 16, 20, 25, 30, 35, 40, 50, 60, 70, 80, 100, 120, 150, 180, 200)
)
SCREWS: Axis = ("3.0", "3.5", "4.0", "4.5", "5.0", "6.0", "8.0")
FINISHES: Axis = (
    "zinc plated|ZP",
    "stainless A2|A2",
    "stainless A4|A4",
    "hot-dip galvanised|HDG",
    "plain|PL",
)
BRANDS: Axis = (
    "Norvik|NV",
    "Haldane|HD",
    "Tessera|TS",
    "Kestrel|KS",
    "Ironwood|IW",
    "Brightwell|BW",
    "Corvane|CV",
)
SIZES: Axis = ("XS", "S", "M", "L", "XL", "XXL")
COLOURS: Axis = ("black|BK", "blue|BU", "red|RD", "yellow|YE", "green|GN", "white|WH", "orange|OR", "grey|GY")
DIAMETERS: Axis = (
    "12 mm|12",
    "15 mm|15",
    "18 mm|18",
    "22 mm|22",
    "28 mm|28",
    "35 mm|35",
    "42 mm|42",
    "54 mm|54",
)
MATERIALS: Axis = ("copper|CU", "brass|MS", "PEX|PX", "stainless|SS", "press steel|ST", "PVC|PV")
SECTIONS: Axis = ("1.5", "2.5", "4", "6", "10", "16", "25", "35", "50", "70", "95", "120")
CORES: Axis = ("1x", "2x", "3G", "4G", "5G", "7G", "12G")
CABLES: Axis = ("NYM-J", "NYY-J", "H07RN-F", "H05VV-F", "LiYCY", "J-Y(ST)Y|JYSTY")
AMPS: Axis = (
    "2 A|2",
    "6 A|6",
    "10 A|10",
    "13 A|13",
    "16 A|16",
    "20 A|20",
    "25 A|25",
    "32 A|32",
    "40 A|40",
    "63 A|63",
)
POLES: Axis = ("1-pole|1P", "1-pole+N|1N", "2-pole|2P", "3-pole|3P", "3-pole+N|3N", "4-pole|4P")
VOLTS: Axis = ("12 V|12", "18 V|18", "36 V|36", "230 V|230")
MODELS: Axis = tuple(
    f"{series}{number}" for series in "ABCDX" for number in (100, 150, 200, 250, 300, 350, 400, 500)
)
GRITS: Axis = ("P24", "P40", "P60", "P80", "P100", "P120", "P180", "P240", "P320", "P400", "P600")
DISCS: Axis = ("76 mm|76", "115 mm|115", "125 mm|125", "150 mm|150", "180 mm|180", "230 mm|230")
DRILLS: Axis = tuple(f"{mm / 2:.1f}" for mm in range(2, 53))
GRADES: Axis = ("standard|S", "professional|P", "heavy duty|H", "cobalt|C", "carbide|K")
EDITIONS: Axis = tuple(f"type {number}|{number}" for number in range(1, 13))
NORMS: Axis = tuple(
    f"DIN {number}|{number}" for number in (125, 433, 555, 934, 936, 985, 1587, 6923, 7349, 9021)
)
SHOE_SIZES: Axis = tuple(f"size {number}|{number}" for number in range(36, 51))


@dataclass(frozen=True, slots=True)
class Leaf:
    """A lowest product group: its place in the tree, how its items are named, what one costs (micros), its share."""

    department: str
    group: str
    code: str
    noun: str
    base_uom: str
    cost_min: int
    cost_max: int
    axes: tuple[Axis, ...]
    weight: int


def _leaves(
    department: str, group: str, *kinds: tuple[str, str, str, int, int, tuple[Axis, ...], int]
) -> list[Leaf]:
    """Leaves of one group from (code, noun, base unit, cheapest and dearest cost in cents, axes, weight)."""
    return [
        Leaf(department, group, code, noun, base_uom, cheapest * 10_000, dearest * 10_000, axes, weight)
        for code, noun, base_uom, cheapest, dearest, axes, weight in kinds
    ]


LEAVES: tuple[Leaf, ...] = (
    *_leaves(
        "Fasteners",
        "Bolts and nuts",
        ("HXB", "Hex bolt", "EA", 2, 380, (THREADS, LENGTHS, FINISHES), 9),
        ("SCB", "Socket cap screw", "EA", 2, 300, (THREADS, LENGTHS, FINISHES), 8),
        ("NUT", "Hex nut", "EA", 1, 90, (THREADS, FINISHES, NORMS), 3),
        ("WSH", "Washer", "EA", 1, 40, (THREADS, FINISHES, NORMS), 3),
    ),
    *_leaves(
        "Fasteners",
        "Wood screws",
        ("CSK", "Countersunk wood screw", "EA", 1, 45, (SCREWS, LENGTHS, FINISHES), 6),
        ("DRY", "Drywall screw", "EA", 1, 20, (SCREWS, LENGTHS, GRADES), 3),
    ),
    *_leaves(
        "Fasteners",
        "Anchors",
        ("EXA", "Expansion anchor", "EA", 30, 900, (THREADS, LENGTHS, BRANDS), 5),
        ("PLG", "Wall plug", "EA", 2, 60, (SCREWS, LENGTHS, COLOURS), 3),
    ),
    *_leaves(
        "Power tools",
        "Drilling",
        ("DRL", "Cordless drill", "EA", 4500, 32000, (BRANDS, VOLTS, MODELS), 4),
        ("HMR", "Rotary hammer", "EA", 9000, 78000, (BRANDS, VOLTS, MODELS), 3),
    ),
    *_leaves(
        "Power tools",
        "Cutting",
        ("GRD", "Angle grinder", "EA", 4000, 29000, (BRANDS, DISCS, MODELS), 4),
        ("SAW", "Circular saw", "EA", 6000, 41000, (BRANDS, VOLTS, MODELS), 3),
    ),
    *_leaves(
        "Power tools",
        "Batteries",
        ("BAT", "Battery pack", "EA", 2500, 16000, (BRANDS, VOLTS, EDITIONS), 2),
    ),
    *_leaves(
        "Tool accessories",
        "Drill bits",
        ("TWB", "Twist drill bit", "EA", 40, 4200, (DRILLS, GRADES, BRANDS), 6),
        ("MSB", "Masonry drill bit", "EA", 90, 3900, (DRILLS, LENGTHS), 4),
    ),
    *_leaves(
        "Tool accessories",
        "Abrasives",
        ("CUT", "Cutting disc", "EA", 60, 900, (DISCS, GRADES, BRANDS), 3),
        ("SND", "Sanding disc", "EA", 15, 240, (DISCS, GRITS, BRANDS), 4),
    ),
    *_leaves(
        "Safety",
        "Hand protection",
        ("GLV", "Work gloves, pack of 3 pairs", "PK", 250, 3600, (BRANDS, SIZES, COLOURS, GRADES), 5),
        ("DSP", "Disposable gloves, pack of 100", "PK", 400, 1900, (BRANDS, SIZES, COLOURS), 3),
    ),
    *_leaves(
        "Safety",
        "Body protection",
        ("VST", "High-visibility vest", "EA", 300, 4200, (BRANDS, SIZES, COLOURS), 3),
        ("SHO", "Safety shoe", "PR", 2800, 14500, (BRANDS, SHOE_SIZES, GRADES), 4),
    ),
    *_leaves(
        "Safety",
        "Head protection",
        ("HLM", "Safety helmet", "EA", 700, 8200, (BRANDS, COLOURS, GRADES), 2),
    ),
    *_leaves(
        "Electrical",
        "Cable",
        ("CBL", "Installation cable", "M", 28, 4800, (CABLES, CORES, SECTIONS), 5),
        ("DUC", "Cable duct", "M", 90, 1400, (DIAMETERS, COLOURS, EDITIONS), 3),
    ),
    *_leaves(
        "Electrical",
        "Circuit protection",
        ("MCB", "Miniature circuit breaker", "EA", 180, 5200, (AMPS, POLES, BRANDS), 4),
        ("RCD", "Residual current device", "EA", 1500, 14500, (AMPS, POLES, BRANDS), 3),
    ),
    *_leaves(
        "Electrical",
        "Lighting",
        ("LED", "LED panel", "EA", 900, 15500, (BRANDS, MODELS, GRADES), 4),
    ),
    *_leaves(
        "Electrical",
        "Wiring devices",
        ("SWT", "Switch insert", "EA", 160, 3200, (BRANDS, COLOURS, EDITIONS), 4),
    ),
    *_leaves(
        "Plumbing",
        "Pipe",
        ("PIP", "Pipe", "M", 140, 5600, (DIAMETERS, MATERIALS, GRADES), 3),
        ("INS", "Pipe insulation", "M", 40, 900, (DIAMETERS, COLOURS, GRADES), 2),
    ),
    *_leaves(
        "Plumbing",
        "Fittings",
        ("ELB", "Elbow 90°", "EA", 45, 4200, (DIAMETERS, MATERIALS, BRANDS), 4),
        ("TEE", "Tee", "EA", 60, 5200, (DIAMETERS, MATERIALS, BRANDS), 4),
    ),
    *_leaves(
        "Plumbing",
        "Valves",
        ("BLV", "Ball valve", "EA", 380, 12500, (DIAMETERS, MATERIALS, BRANDS), 3),
    ),
    *_leaves(
        "Chemicals",
        "Adhesives",
        ("SIL", "Silicone sealant", "EA", 210, 1600, (BRANDS, COLOURS, GRADES), 3),
        ("EPX", "Epoxy resin", "KG", 900, 6400, (BRANDS, GRADES, EDITIONS), 2),
    ),
    *_leaves(
        "Chemicals",
        "Coatings",
        ("PNT", "Metal paint", "L", 450, 3900, (BRANDS, COLOURS, EDITIONS), 3),
    ),
    *_leaves(
        "Chemicals",
        "Hazardous",
        ("SLV", "Solvent", "L", 280, 2400, (BRANDS, GRADES, EDITIONS), 2),
        ("GAS", "Welding gas cylinder", "EA", 3800, 29000, (BRANDS, MODELS), 1),
    ),
    *_leaves(
        "Storage",
        "Shelving",
        ("SHV", "Shelf bay", "EA", 3900, 42000, (BRANDS, COLOURS, EDITIONS), 2),
    ),
    *_leaves(
        "Storage",
        "Boxes",
        ("BOX", "Storage box", "EA", 120, 4900, (SIZES, COLOURS, EDITIONS), 2),
    ),
    *_leaves(
        "Assortments",
        "Assortments",
        ("KIT", "Assortment", "EA", 1500, 39000, (BRANDS, MODELS), 1),
    ),
)
KIT_LEAF = "KIT"
HAZARDOUS_GROUP = "Chemicals/Hazardous"


def department_id(leaf: Leaf) -> str:
    """Product group of the first level."""
    return leaf.department


def group_id(leaf: Leaf) -> str:
    """Product group of the second level."""
    return f"{leaf.department}/{leaf.group}"


def leaf_id(leaf: Leaf) -> str:
    """Product group of the third level: the one that items are in."""
    return f"{leaf.department}/{leaf.group}/{leaf.code}"


def product_groups() -> pl.DataFrame:
    """The `product_groups` table: three levels, parents first."""
    parents: dict[str, str | None] = {}
    for leaf in LEAVES:
        parents.setdefault(department_id(leaf), None)
        parents.setdefault(group_id(leaf), department_id(leaf))
        parents[leaf_id(leaf)] = group_id(leaf)
    return pl.DataFrame({"product_group": list(parents), "parent": list(parents.values())})


def _quotas(items: int) -> list[int]:
    """How many items each leaf gets: by weight, at least one, exactly `items` in all."""
    edges = (
        np.cumsum([leaf.weight for leaf in LEAVES])
        * (items - len(LEAVES))
        // sum(leaf.weight for leaf in LEAVES)
    )
    return [int(count) + 1 for count in np.diff(edges, prepend=0)]


def _names(leaf: Leaf, quota: int, rng: np.random.Generator) -> tuple[list[str], list[str], np.ndarray]:
    """SKUs and descriptions of one leaf, and 0 to 1000 for how far along its axes each is: large things cost more.

    Items are combinations of the axes in random order, in numbered series if there are too few.
    """
    sizes = [len(axis) for axis in leaf.axes]
    combinations = prod(sizes)
    order = np.concatenate([rng.permutation(combinations) for _ in range(-(-quota // combinations))])[:quota]
    picks = np.unravel_index(order, sizes)
    axes = [[(value.partition("|")[0], value.rpartition("|")[2]) for value in axis] for axis in leaf.axes]
    skus, texts = [], []
    for number, pick in enumerate(zip(*(column.tolist() for column in picks), strict=True)):
        chosen = [axis[index] for axis, index in zip(axes, pick, strict=True)]
        series = number // combinations + 1
        tail, words = (f"-{series}", f", series {series}") if series > 1 else ("", "")
        skus.append("-".join([leaf.code, *(code for _, code in chosen)]) + tail)
        texts.append(" ".join([leaf.noun, *(text for text, _ in chosen)]) + words)
    along = sum(
        1000 * column.astype(np.int64) // max(size - 1, 1) for column, size in zip(picks, sizes, strict=True)
    )
    return skus, texts, np.asarray(along) // len(sizes)


def _priced(leaf: Leaf, along: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cost and list price in micros: many cheap items and few dear ones; 4 decimals below 1, otherwise cents."""
    quota = along.size
    lift = (along * 3 + rng.integers(0, 1000, quota, dtype=np.int64)) // 4
    cost = leaf.cost_min + (leaf.cost_max - leaf.cost_min) * lift * lift // 1_000_000
    cost += rng.integers(0, leaf.cost_min // 2 + 1, quota)
    price = cost * rng.integers(145, 245, quota) // 100
    return round_price(cost), round_price(price)


def round_price(micros: np.ndarray) -> np.ndarray:
    """To 4 decimals below 1, otherwise to cents; never 0."""
    step = np.where(micros < 1_000_000, 100, 10_000)
    rounded: np.ndarray = np.maximum((micros + step // 2) // step, 1) * step
    return rounded


def catalogue(items: int, rng: np.random.Generator) -> pl.DataFrame:
    """One row an item: sku, description, base_uom, leaf, group, department, cost_micros, list_micros, popularity.

    `popularity` 0 to 999 drives stock and contracts. Raises ValueError for fewer items than there are leaves.
    """
    if items < len(LEAVES):
        raise ValueError(f"the demo needs at least {len(LEAVES)} items, got {items}")
    parts = []
    for leaf, quota in zip(LEAVES, _quotas(items), strict=True):
        skus, texts, along = _names(leaf, quota, rng)
        cost, price = _priced(leaf, along, rng)
        parts.append(
            pl.DataFrame(
                {
                    "sku": skus,
                    "description": texts,
                    "base_uom": [leaf.base_uom] * quota,
                    "leaf": [leaf.code] * quota,
                    "product_group": [leaf_id(leaf)] * quota,
                    "middle_group": [group_id(leaf)] * quota,
                    "department": [leaf.department] * quota,
                    "cost_micros": cost,
                    "list_micros": price,
                    "popularity": rng.integers(0, 1000, quota, dtype=np.int64),
                }
            )
        )
    return pl.concat(parts).with_row_index("item")
