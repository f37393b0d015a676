"""Cycles and depths: of hierarchies (each node has one parent) and of general graphs given as edges."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

NO_PARENT: Final = -1
UNKNOWN_PARENT: Final = -2
_PEEL_ROUNDS: Final = 64


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """What is wrong with each node, as masks; at most one is true of a node."""

    unknown: NDArray[np.bool_]
    """Its parent doesn't exist."""
    cyclic: NDArray[np.bool_]
    """It is its own ancestor."""
    deep: NDArray[np.bool_]
    """More nodes than allowed lie on the path up to its root."""
    below: NDArray[np.bool_]
    """An ancestor has one of the faults above."""


def examine(parents: NDArray[np.int64], depth_max: int | None) -> Hierarchy:
    """Judges a hierarchy; `parents[i]` is an index, NO_PARENT or UNKNOWN_PARENT. O(n log n), no loop over nodes."""
    jump = parents.copy()
    for _ in range(max(1, len(parents)).bit_length()):
        going = jump >= 0
        jump[going] = jump[jump[going]]
    cyclic = np.zeros(len(parents), np.bool_)
    cyclic[jump[jump >= 0]] = True
    unknown = parents == UNKNOWN_PARENT
    below = ((jump >= 0) & ~cyclic) | ((jump == UNKNOWN_PARENT) & ~unknown)
    deep = np.zeros(len(parents), np.bool_)
    if depth_max is not None:
        above = parents.copy()
        for _ in range(depth_max - 1):
            going = above >= 0
            above[going] = parents[above[going]]
        deep = (above >= 0) & ~cyclic & ~below
    return Hierarchy(unknown, cyclic, deep, below)


def cyclic_edges(edges: pl.DataFrame) -> pl.DataFrame:
    """The rows of `edges` (source, target: distinct, not null) that lie on a cycle."""
    for _ in range(_PEEL_ROUNDS):
        left = edges.filter(
            pl.col("source").is_in(edges["target"].implode())
            & pl.col("target").is_in(edges["source"].implode())
        )
        if left.height in (0, edges.height):
            edges = left
            break
        edges = left
    if edges.is_empty():
        return edges
    component = _components(edges.iter_rows())
    on_cycle = [s == t or component[s] == component[t] for s, t in edges.iter_rows()]
    return edges.filter(pl.Series(on_cycle, dtype=pl.Boolean))


def _components(edges: Iterable[tuple[str, str]]) -> Mapping[str, int]:
    """Strongly connected component of each node: Tarjan's algorithm, with a stack of its own instead of recursion."""
    targets: dict[str, list[str]] = {}
    for source, target in edges:
        targets.setdefault(source, []).append(target)
        targets.setdefault(target, [])
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    component: dict[str, int] = {}
    open_nodes: list[str] = []
    for root in list(targets):
        if root in order:
            continue
        path = [(root, iter(targets[root]))]
        order[root] = lowest[root] = len(order)
        open_nodes.append(root)
        while path:
            node, following = path[-1]
            for target in following:
                if target not in order:
                    order[target] = lowest[target] = len(order)
                    open_nodes.append(target)
                    path.append((target, iter(targets[target])))
                    break
                if target not in component:
                    lowest[node] = min(lowest[node], order[target])
            else:
                path.pop()
                if path:
                    lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[node])
                if lowest[node] == order[node]:
                    _close(node, open_nodes, component)
    return component


def _close(root: str, open_nodes: list[str], component: dict[str, int]) -> None:
    number = len(component)
    while True:
        node = open_nodes.pop()
        component[node] = number
        if node == root:
            return


def long_edges(edges: pl.DataFrame, links_max: int) -> pl.DataFrame:
    """The rows of acyclic `edges` (source, target: distinct) that begin a chain of more than `links_max` edges. An
    edge that is named doesn't lengthen the chains of the edges that lead to it."""
    targets: dict[str, list[str]] = {}
    for source, target in edges.iter_rows():
        targets.setdefault(source, []).append(target)
    links: dict[str, int] = {}
    long: list[tuple[str, str]] = []
    for node in TopologicalSorter(targets).static_order():
        links[node] = 0
        for target in targets.get(node, ()):
            if links[target] < links_max:
                links[node] = max(links[node], links[target] + 1)
            else:
                long.append((node, target))
    return pl.DataFrame(long, schema=edges.schema, orient="row")
