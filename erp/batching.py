"""Which questions go together: those that share what a call says once, an item once a call."""

from collections.abc import Hashable, Sequence


def batches_of(keys: Sequence[Hashable], skus: Sequence[str], lines_max: int) -> list[list[int]]:
    """Places, in calls of one key and at most `lines_max` lines each, in which no item is asked twice.

    An item's n-th line of a key goes into one of its n-th calls, so the time grows with the lines only.
    """
    times: dict[tuple[Hashable, str], int] = {}
    open_batches: dict[tuple[Hashable, int], list[int]] = {}
    batches: list[list[int]] = []
    for place, asked in enumerate(zip(keys, skus, strict=True)):
        before = times.get(asked, 0)
        times[asked] = before + 1
        batch = open_batches.get((asked[0], before))
        if batch is None or len(batch) >= lines_max:
            batch = open_batches[asked[0], before] = []
            batches.append(batch)
        batch.append(place)
    return batches
