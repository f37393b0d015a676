"""The corpus of the codec fuzz: a file of lines, each what a message shows, a tab, and the message as text.

A message is kept for what it shows: a set of features, of which some pair is shown by no other.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"


class Corpus:
    """The messages of one file, in the order in which they were found."""

    def __init__(self, name: str) -> None:
        self._path = FOLDER / name
        self._pairs: set[tuple[str, str]] = set()
        self._rows: list[tuple[str, str]] = []
        for row in self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else ():
            shows, _, text = row.partition("\t")
            self.add(shows.split(", "), text)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return (text for _, text in self._rows)

    def is_new(self, features: Iterable[str]) -> bool:
        """Whether a message with these features would be added to the corpus."""
        return not self._pairs.issuperset(_pairs(features))

    def add(self, features: Iterable[str], text: str) -> None:
        """Keeps a message."""
        self._pairs.update(_pairs(features))
        self._rows.append((", ".join(sorted(features)), text))

    def save(self) -> None:
        """Writes the file again, without what others show as well, the longest first."""
        pairs = [_pairs(shows.split(", ")) for shows, _ in self._rows]
        shown = Counter(pair for each in pairs for pair in each)
        for at in sorted(range(len(pairs)), key=lambda at: -len(self._rows[at][1])):
            if all(shown[pair] > 1 for pair in pairs[at]):
                shown.subtract(pairs[at])
                pairs[at] = set()
        rows = sorted(row for row, each in zip(self._rows, pairs, strict=True) if each)
        self._path.write_text("".join(f"{shows}\t{text}\n" for shows, text in rows), encoding="utf-8")


def _pairs(features: Iterable[str]) -> set[tuple[str, str]]:
    """Every two of them, and each with itself."""
    ordered = sorted(features)
    return {*combinations(ordered, 2), *zip(ordered, ordered, strict=True)}
