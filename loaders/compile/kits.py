"""Kits opened to the base components they are made of (A6)."""

from fractions import Fraction

import polars as pl

from pricegrid.atp.model import MICROS


def open_kits(kits: pl.DataFrame) -> dict[str, dict[str, Fraction]]:
    """Each kit's base components, kits in kits opened, equal ones added; ValueError for a cycle (A6)."""
    direct: dict[str, list[tuple[str, Fraction]]] = {}
    for kit, component, micros in kits.iter_rows():
        direct.setdefault(kit, []).append((component, Fraction(micros, MICROS)))
    opened: dict[str, dict[str, Fraction]] = {}

    def open_kit(kit: str, above: tuple[str, ...]) -> dict[str, Fraction]:
        if kit in above:
            raise ValueError(f"kit {kit} contains itself")
        if kit not in opened:
            needs: dict[str, Fraction] = {}
            for component, quantity in direct[kit]:
                inner = (
                    open_kit(component, (*above, kit)) if component in direct else {component: Fraction(1)}
                )
                for base, need in inner.items():
                    needs[base] = needs.get(base, Fraction(0)) + need * quantity
            opened[kit] = needs
        return opened[kit]

    return {kit: open_kit(kit, ()) for kit in direct}
