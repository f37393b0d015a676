"""The compiled codec agrees with the protobuf runtime: on the corpus, and on random cases of `tests.fuzz_codec`."""

import os
import subprocess
import sys
from random import Random

import pytest

from pricegrid import v1
from tests import codec_decoder, codec_encoder
from tests.codec_corpus import Corpus
from tests.codec_decoder import Scanned
from tests.fast_path_worlds import random_request

SEED = 20261125


def test_every_kept_request_is_read_as_the_runtime_reads_it() -> None:
    seen = codec_decoder.replay(Corpus(codec_decoder.CORPUS))

    assert min(seen["accepted"], seen["left to the runtime"]) > 10


def test_every_kept_answer_is_written_as_the_runtime_writes_it_in_a_room_of_any_size() -> None:
    seen = codec_encoder.replay(Corpus(codec_encoder.CORPUS))

    assert seen["lines"] > 50


def test_changed_requests_are_read_as_the_runtime_reads_them() -> None:
    seen = codec_decoder.fuzz(SEED, 20_000, Corpus(codec_decoder.CORPUS))

    assert min(seen.values()) > seen.total() // 20


def test_random_answers_are_written_as_the_runtime_writes_them() -> None:
    seen = codec_encoder.fuzz(SEED, 5_000, Corpus(codec_encoder.CORPUS))

    assert seen["rooms"] > seen["answers"] > 50


@pytest.mark.slow
@pytest.mark.parametrize("side", ["decoder", "encoder"])
def test_no_index_of_the_codec_leaves_its_array(side: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz_codec", side, "2000", "--seed", str(SEED), "--no-save"],
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )

    assert run.stdout.endswith("indices checked, no disagreement\n"), run.stderr[-2000:]


@pytest.mark.parametrize("is_quote", [False, True])
def test_the_scanner_accepts_what_clients_send(is_quote: bool) -> None:
    scanned, rng, accepted = Scanned(), Random(1), 0
    for _ in range(200):
        raw = random_request(rng, "UTC", is_quote=is_quote)
        asked = v1.QuoteLinesRequest.FromString(raw)
        names = [asked.customer_id, asked.currency, *asked.branches]
        names += [name for line in asked.lines for name in (line.sku, line.uom)]
        is_padded = any(name != name.strip(" \t") for name in names)  # the general path trims
        if not is_padded and all(line.sku.isascii() for line in asked.lines):
            assert scanned.scan(raw) > 0, raw
            accepted += 1
    assert accepted > 160


def test_a_corpus_keeps_what_shows_something_new(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tests.codec_corpus.FOLDER", tmp_path)
    corpus = Corpus("some.txt")
    corpus.add({"a", "b"}, "one")
    assert not corpus.is_new({"a"})
    assert corpus.is_new({"b", "c"})
    corpus.add({"b", "c"}, "two")
    corpus.add({"a", "b", "c"}, "2")

    corpus.save()

    assert list(Corpus("some.txt")) == ["2"]
