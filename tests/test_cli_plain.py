"""A small question to a store is answered by the references, without numba; the answers are those of the kernels."""

import json
import re
import subprocess
import sys

import pytest

from pricegrid.loaders.demo.dataset import generate
from pricegrid.service.cli.main import main
from pricegrid.service.rpc.plain_store import PAIRS_MAX, LiveState, live_state
from tests.servers import running
from tests.stores import price_rows, publish, stocked_rows

AS_OF = ("--as-of", "2026-03-02T09:00:00Z")


def in_a_process(commands, absent=()):
    """(answers, packages imported) of commands in a process of their own."""
    asked = json.dumps({"commands": commands, "absent": list(absent)})
    ended = subprocess.run(
        [sys.executable, "-m", "tests.cli_child"], input=asked, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    return [tuple(answer) for answer in told["answers"]], told["imported"]


def equal_answers(commands, capsys):
    """Runs commands both ways: without numba in a process of their own, and here, by kernels."""
    plain, imported = in_a_process(commands)
    assert not {"numba", "llvmlite", "redis", "aiohttp", "polars", "prometheus_client"} & set(imported)
    capsys.readouterr()
    for words, (code, out, err) in zip(commands, plain, strict=True):
        assert (main(words), *_anonymous(*capsys.readouterr())) == (code, *_anonymous(out, err)), words
    return plain


def _anonymous(*texts):
    """Without what differs from call to call."""
    return [re.sub(r"correlation id \w+|\d+ s old", "", text) for text in texts]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    directory = tmp_path_factory.mktemp("shop")
    publish(directory, price_rows(), time_zone="Europe/Berlin")
    return str(directory)


def test_prices_statuses_exceptions_and_refusals(shop, capsys):
    lines = (
        "S4",
        "S4:-2",
        "S4:0",
        "S4:9223372036854.775807",
        "nope",
        "E1",
        "S4:1:XX",
        "N1",
        "S1:2",
        "X1",
        "S2:2:BOX",
    )
    quote = ("quote", "--store", shop, *AS_OF, "--json")
    commands = [
        [*quote, "--customer", "C1", *lines],
        [*quote, "--customer", "C2", *lines],
        [*quote, "--currency", "JPY", "S0:12", "S3"],
        [*quote, "--customer", "C1", "--exception-above", "99.99:EUR", "--flag-sku", "S5", "S4:10", "S5"],
        [*quote, "--customer", "C1", "--flag-customer", "C1", "S4"],
        [*quote, "--customer", "C9", "S4"],
        [*quote, "S4"],
        [*quote, "--customer", "C1", "--snapshot-version", "nope", "S4"],
        [*quote, "--customer", "C1", "S" * 200],
        ["quote", "--store", shop, *AS_OF, "--customer", "C1", "S3", "S1:2"],
        *(["explain", "--store", shop, *AS_OF, "--json", "--customer", "C1", line] for line in lines),
        ["explain", "--store", shop, *AS_OF, "--customer", "C1", "S3:4"],
    ]  # fmt: skip

    answers = equal_answers(commands, capsys)

    assert {code for code, _, _ in answers} == {0, 1}


@pytest.mark.slow
def test_every_kind_of_price_and_stock_of_the_demo(tmp_path, capsys):
    dataset = generate(tmp_path / "dataset", seed=3, items=600, customers=200)
    store = str(tmp_path / "store")
    assert main(["load", str(dataset.directory), "--store", store, "--time-zone", dataset.time_zone]) == 0
    basket = [f"{line.sku}:{line.quantity}" + (f":{line.uom}" if line.uom else "") for line in dataset.basket]
    as_of = ("--as-of", dataset.as_of.strftime("%Y-%m-%dT%H:%M:%SZ"))
    skus = [row.partition(",")[0] for row in (dataset.directory / "items.csv").read_text().splitlines()[1:]]
    quote = ("quote", "--store", store, *as_of, "--json", "--customer")
    commands = [[*quote, dataset.customer_id, *basket]]
    for number in range(12):
        lines = [f"{sku}:{1 + 7 * number}" for sku in skus[number * 18 : number * 18 + 18]]
        commands.append([*quote, f"S{1 + 11 * number:05}", *lines])
    commands += [
        ["explain", "--store", store, *as_of, "--json", "--customer", dataset.customer_id, line]
        for line in basket
    ]

    answers = equal_answers(commands, capsys)

    rows = [row for code, out, _ in answers[:13] if out for row in json.loads(out)]
    assert len({row["layer"] for row in rows if row["layer"]}) >= 4
    assert any(row["promise_date"] for row in rows)


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    directory = tmp_path_factory.mktemp("stocked")
    publish(directory, stocked_rows())
    return directory


@pytest.mark.slow
def test_what_a_server_shows_is_followed_without_its_lock(stocked, capsys):
    quote = ["quote", "--store", str(stocked), "--customer", "C1", "--branch", "HAM", "--json", "S4:3", "S5"]
    assert live_state(stocked) is LiveState.NONE
    with running(stocked, "--workers", "1") as server:
        assert live_state(stocked) is LiveState.FOLLOWED
        held = ["reserve", "--address", server.address, "--branch", "HAM", "--customer", "C1", "S4:2"]
        before = _figures(in_a_process([quote])[0])
        assert main(held) == 0
        after = _figures(in_a_process([quote])[0])
        capsys.readouterr()
        main(quote)
        by_kernels = _figures([(0, capsys.readouterr().out, "")])
    assert after == by_kernels
    assert before != after
    assert live_state(stocked) is LiveState.KEPT, "reservations are kept, and no server shows them"


def _figures(answers):
    ((_, out, err),) = answers
    assert not err
    return [(row["sku"], row["available"], row["freshness"], row["promise_date"]) for row in json.loads(out)]


def test_more_than_a_few_lines_are_the_kernels(shop):
    lines = [f"S4:{1 + number}" for number in range(PAIRS_MAX + 1)]
    quote = ["quote", "--store", shop, *AS_OF, "--customer", "C1", "--json"]

    _, few = in_a_process([[*quote, *lines[:-1]]])
    _, many = in_a_process([[*quote, *lines]])

    assert "numba" not in few
    assert "numba" in many


def test_a_damaged_snapshot_answers_nothing(tmp_path):
    publish(tmp_path, price_rows())
    (file,) = tmp_path.glob("snapshots/*/books.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)

    (((code, out, err),), imported) = in_a_process(
        [["quote", "--store", str(tmp_path), "--currency", "EUR", "S4"]]
    )

    assert (code, out) == (1, "")
    assert "books.npy is corrupt" in err
    assert "numba" not in imported
