"""A small question to a store is answered by the references, without numba; the answers are those of the kernels."""

import json
import re
import subprocess
import sys
from datetime import timedelta

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
    """Without what differs from call to call, and without what says that a kernel was in no cache yet."""
    differs = r"correlation id \w+|\d+ s old|pricegrid: (?:compiling|kernels compiled) .*\n"
    return [re.sub(differs, "", text) for text in texts]


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


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """(dataset, store, SKUs, how `--as-of` says its day) of a made-up distributor."""
    directory = tmp_path_factory.mktemp("demo")
    dataset = generate(directory / "dataset", seed=3, items=600, customers=200)
    store = str(directory / "store")
    assert main(["load", str(dataset.directory), "--store", store, "--time-zone", dataset.time_zone]) == 0
    as_of = ("--as-of", dataset.as_of.strftime("%Y-%m-%dT%H:%M:%SZ"))
    skus = [row.partition(",")[0] for row in (dataset.directory / "items.csv").read_text().splitlines()[1:]]
    return dataset, store, skus, as_of


def basket_of(dataset):
    return [f"{line.sku}:{line.quantity}" + (f":{line.uom}" if line.uom else "") for line in dataset.basket]


@pytest.mark.slow
def test_every_kind_of_price_and_stock_of_the_demo(demo, capsys):
    dataset, store, skus, as_of = demo
    basket = basket_of(dataset)
    quote = ("quote", "--store", store, *as_of, "--json", "--customer")
    commands = [
        [*quote, dataset.customer_id, *basket],
        [*quote, dataset.customer_id, "--branch", "nowhere", *basket],
    ]
    for number in range(12):
        lines = [f"{sku}:{1 + 7 * number}" for sku in skus[number * 18 : number * 18 + 18]]
        commands.append([*quote, f"S{1 + 11 * number:05}", *lines])
    commands += [
        ["explain", "--store", store, *as_of, "--json", "--customer", dataset.customer_id, line]
        for line in basket
    ]

    answers = equal_answers(commands, capsys)

    rows = [row for code, out, _ in answers[:14] if out for row in json.loads(out)]
    assert len({row["layer"] for row in rows if row["layer"]}) >= 4
    assert any(row["promise_date"] for row in rows)


@pytest.mark.slow
def test_what_is_free_and_when_of_the_demo(demo, capsys):
    dataset, store, skus, as_of = demo
    availability = ["availability", "--store", store, *as_of, "--json"]
    basket, branch = basket_of(dataset), ["--branch", dataset.branch]
    commands = [[*availability, *(f"{sku}:3" for sku in skus[at : at + 12])] for at in range(0, 120, 12)]
    commands += [
        [*availability, *branch, "--customer", dataset.customer_id, *basket],
        [*availability, *branch, "--explain", basket[0]],
        [*availability, *branch, "--horizon-days", "10", "--past-due-offset-days", "1", *basket],
        [*availability, "--branch", "nowhere", "--snapshot-version", "nope", basket[0]],
        [*availability, "--snapshot-version", "nope", basket[0]],
        [*availability, "--branch", "nowhere", basket[0], "nope", f"{skus[0]}:1:XX", f"{skus[0]}:0"],
        ["availability", "--store", store, *as_of, *basket],
    ]

    answers = equal_answers(commands, capsys)

    rows = [row for code, out, _ in answers if out.startswith("[") for row in json.loads(out)]
    assert any(len(row["projected"]) > 2 for row in rows)
    assert {"OK", "UNKNOWN_ITEM", "UNKNOWN_UOM", "INVALID_QUANTITY"} <= {row["status"] for row in rows}


@pytest.mark.slow
def test_what_can_be_promised_of_the_demo(demo, capsys):
    dataset, store, skus, as_of = demo
    promise, basket = ["promise", "--store", store, *as_of, "--json"], basket_of(dataset)
    lines = [f"{sku}:{1 + 97 * number}" for number, sku in enumerate(skus[:100])]
    ways = [
        [],
        ["--no-split"],
        ["--allow-substitutes"],
        ["--no-late"],
        ["--branch", dataset.branch],
        ["--late-until", (dataset.as_of + timedelta(days=6)).date().isoformat()],
        ["--ship-to", "nowhere"],
        ["--customer", dataset.customer_id, "--explain"],
    ]
    commands = [[*promise, *way, *lines[at : at + 12]] for at, way in enumerate(ways, 30)]
    commands += [[*promise, *way, *basket] for way in [*ways, ["--ship-complete"]]]
    commands += [[*promise, *lines[at : at + 12]] for at in range(0, 96, 12)]
    commands += [[*promise, "--ship-complete", line] for line in lines[:8]]
    commands.append(["promise", "--store", store, *as_of, *basket])

    answers = equal_answers(commands, capsys)

    rows = [row for code, out, _ in answers if out.startswith("[") for row in json.loads(out)]
    assert any(len({part["branch"] for part in row["promised"]}) > 1 for row in rows)
    assert any(row["promised"] and row["shortage"] not in {None, "0"} for row in rows)


def test_a_minimum_shipment_is_the_kernels(demo):
    _, store, skus, as_of = demo
    promise = ["promise", "--store", store, *as_of, "--json"]

    _, without = in_a_process([[*promise, f"{skus[0]}:5"]])
    _, least = in_a_process([[*promise, "--minimum-shipment", "2", f"{skus[0]}:5"]])

    assert "numba" not in without
    assert "numba" in least


def test_all_branches_count_where_none_is_named(demo):
    _, store, skus, as_of = demo
    availability = ["availability", "--store", store, *as_of, "--json"]
    lines = [f"{sku}:1" for sku in skus[: PAIRS_MAX // 2]]

    _, one = in_a_process([[*availability, "--branch", demo[0].branch, *lines]])
    _, all_of_them = in_a_process([[*availability, *lines]])

    assert "numba" not in one
    assert "numba" in all_of_them


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
