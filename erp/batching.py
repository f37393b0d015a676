"""Groups questions into calls: questions with equal keys share a call, and no item occurs twice in one."""

from collections.abc import Hashable, Sequence


def batches_of(keys: Sequence[Hashable], skus: Sequence[str], lines_max: int) -> list[list[int]]:
    """The indices of the questions in each call. A call has one key, at most `lines_max` lines, and no item twice.

    The n-th line of an item and key goes into one of the key's n-th calls, so the time is linear in the lines.
    """
    times: dict[tuple[Hashable, str], int] = {}
    open_batches: dict[tuple[Hashable, int], list[int]] = {}
    batches: list[list[int]] = []
    for index, asked in enumerate(zip(keys, skus, strict=True)):
        before = times.get(asked, 0)
        times[asked] = before + 1
        batch = open_batches.get((asked[0], before))
        if batch is None or len(batch) >= lines_max:
            batch = open_batches[asked[0], before] = []
            batches.append(batch)
        batch.append(index)
    return batches
