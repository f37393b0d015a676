"""Fuzzes the compiled codec against the protobuf runtime, every index checked:

    python -m tests.fuzz_codec decoder 10000000
    python -m tests.fuzz_codec encoder 10000000 --seed 7

Ends with an error at the first message of which both are not of one mind. What shows something new is added to the
corpus (tests/corpus), which every run starts from.
"""

import argparse
import os
import sys
import time

from pricegrid.service.process.kernel_cache import use_kernel_cache


def check_indices() -> None:
    """Makes numba check every index, and shows that it does; to be called before any kernel is imported."""
    use_kernel_cache(os.environ)
    os.environ["PRICEGRID_KERNEL_EXTENSION"] = ""  # compiled without checks
    os.environ["NUMBA_BOUNDSCHECK"] = "1"
    os.environ["NUMBA_CACHE_DIR"] += "-checked"  # numba tells them apart by nothing else

    import numba
    import numpy as np

    def beyond(values, at):  # type: ignore[no-untyped-def]
        return values[at]

    try:
        numba.njit(beyond)(np.zeros(1, np.uint8), 1)
    except IndexError:
        return
    raise SystemExit("indices are not checked")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_codec")
    parser.add_argument("side", choices=["decoder", "encoder"])
    parser.add_argument("count", type=int, help="messages of the decoder, lines of the encoder")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    parser.add_argument("--no-save", action="store_true", help="leave the corpus as it is")
    asked = parser.parse_args()
    check_indices()
    from tests import codec_decoder, codec_encoder
    from tests.codec_corpus import Corpus

    side = codec_decoder if asked.side == "decoder" else codec_encoder
    corpus, started_s = Corpus(side.CORPUS), time.perf_counter()
    kept = len(corpus)
    side.replay(corpus)
    seen = side.fuzz(asked.seed, asked.count, corpus)
    if not asked.no_save:
        corpus.save()
    took_s = time.perf_counter() - started_s
    counts = ", ".join(f"{count:,} {what}" for what, count in sorted(seen.items()))
    sys.stdout.write(
        f"{asked.side}: {counts}; seed {asked.seed}; {kept} kept messages replayed, {len(corpus) - kept} found; "
        f"{took_s:.0f} s, indices checked, no disagreement\n"
    )


if __name__ == "__main__":
    main()
