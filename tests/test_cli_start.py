"""What a command imports, what it says to a slip of the fingers, and what it takes from its surroundings."""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import pricegrid
from pricegrid.atp.model import MICROS, PolicyError, SupplyPolicy
from pricegrid.service.cli import feeds, supply, text
from pricegrid.service.cli.health import service_names
from pricegrid.service.cli.main import COMMANDS, SERVER_PACKAGES, main
from pricegrid.service.rpc.services import SERVICES
from tests.ports import free_port
from tests.servers import running
from tests.stores import price_rows, publish
from tests.test_cli_plain import in_a_process

SERVER = tuple(sorted(SERVER_PACKAGES))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    directory = tmp_path_factory.mktemp("store")
    publish(directory, price_rows())
    return directory


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for variable in ("PRICEGRID_ADDRESS", "PRICEGRID_STORE"):
        monkeypatch.delenv(variable, raising=False)


# ---- imports


def test_help_needs_neither_the_server_nor_grpc():
    answers, imported = in_a_process([["--help"], *([name, "--help"] for name in COMMANDS)], absent=SERVER)

    assert [code for code, _, _ in answers] == [0] * len(answers)
    assert not {"grpc", "google", "argcomplete"} & set(imported)


@pytest.mark.slow
def test_with_the_client_alone_a_server_is_asked_and_a_store_says_what_to_install(store):
    with running(store, "--workers", "1") as server:
        there = ["--address", server.address, "--json"]
        (asked, explained, *others), _ = in_a_process(
            [
                ["quote", *there, "--customer", "C1", "S4:2"],
                ["explain", *there, "--customer", "C1", "S4:2"],
                ["availability", *there, "--min-confidence", "0.5", "S4"],
                ["promise", *there, "S4:1"],
                ["dead-letters", "list", *there],
                ["quote", "--store", str(store), "--customer", "C1", "S4"],
                ["serve", "--store", str(store)],
                ["load", str(store), "--store", str(store)],
            ],
            absent=SERVER,
        )

    assert (asked[0], explained[0]) == (0, 0), asked[2] + explained[2]
    assert '"20.00"' in asked[1]
    assert [err for _, _, err in others[:3] if "server's packages" in err] == []
    assert "NO_AVAILABILITY_DATA" in others[0][2]
    assert others[2][:2] == (0, "[\n\n]\n")
    for (code, out, err), name in zip(others[3:], ("quote", "serve", "load"), strict=True):
        assert (code, out) == (1, "")
        assert err.startswith(f"pricegrid: {name} ")
        assert err.endswith("pip install 'pricegrid[server]'\n")
        assert err.count("\n") == 1


# ---- slips


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["qoute"], "did you mean quote?"),
        (["zzz"], "`pricegrid --help` lists them"),
        (["quote", "--store", "s", "--custmer=C1", "A"], "did you mean --customer?"),
        (["snapshots", "lst", "--store", "s"], "did you mean list?"),
        (["erp", "flags", "--stroe", "s"], "did you mean --store?"),
        (["events", "reset", "--source", "wsm", "--address", "h:1"], "did you mean wms?"),
        (["quote", "A"], "PRICEGRID_ADDRESS or PRICEGRID_STORE can say it too"),
        (["load", "shop"], "PRICEGRID_STORE can say it too"),
        (["quote", "--address", "h:1", "--wait", "soon", "A"], "argument --wait: 'soon'"),
        (["quote", "--address", "h:1", "--flag-sku", "A", "A"], "--flag-sku goes with --store"),
        (["availability", "--address", "h:1", "--horizon-days", "731", "A"], "argument --horizon-days: 731"),
        (
            ["promise", "--address", "h:1", "--min-confidence", "1.1", "A:1"],
            "argument --min-confidence: '1.1'",
        ),
    ],
)
def test_bad_usage_names_the_flag_and_what_was_meant(words, said, capsys):
    assert main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("horizon_days", supply.HORIZON_DAYS),
        ("past_due_offset_days", supply.OFFSET_DAYS),
        ("past_due_max_days", supply.LATE_DAYS),
        ("min_confidence_micros", (0, MICROS)),
    ],
)
def test_the_commands_ranges_are_those_of_the_rules(name, bounds):
    for value in bounds:
        SupplyPolicy(**{name: value})
    for value in (bounds[0] - 1, bounds[1] + 1):
        with pytest.raises(PolicyError):
            SupplyPolicy(**{name: value})


def test_the_sources_are_those_of_the_client():
    assert list(feeds.SOURCES) == [source.value.lower() for source in pricegrid.InventorySource]


# ---- surroundings


def test_the_store_may_come_from_the_environment(store, monkeypatch, capsys):
    monkeypatch.setenv("PRICEGRID_STORE", str(store))
    assert main(["quote", "--customer", "C1", "S4"]) == 0
    assert main(["snapshots", "list"]) == 0
    assert main(["quote", "--store", str(store / "none"), "--customer", "C1", "S4"]) == 1, (
        "what is said counts"
    )


def test_an_address_in_the_environment_goes_before_a_store_there_but_not_before_one_that_is_said(
    store, monkeypatch, capsys
):
    monkeypatch.setenv("PRICEGRID_STORE", str(store))
    monkeypatch.setenv("PRICEGRID_ADDRESS", "127.0.0.1:1")
    assert main(["quote", "--customer", "C1", "S4"]) == 1
    assert "UNAVAILABLE" in capsys.readouterr().err
    assert main(["quote", "--store", str(store), "--customer", "C1", "S4"]) == 0


@pytest.mark.slow
def test_a_client_waits_for_a_server_that_only_starts(store, capsys):
    port = free_port()
    asked = ["quote", "--address", f"127.0.0.1:{port}", "--wait", "120", "--customer", "C1", "S4"]
    codes = []
    waiting = threading.Thread(target=lambda: codes.append(main(asked)))
    waiting.start()
    with running(store, "--workers", "1", "--port", str(port)):
        waiting.join(120)
    assert codes == [0], capsys.readouterr().err


class _Health(health_pb2_grpc.HealthServicer):
    """Says that it is not ready until it was asked three times."""

    def __init__(self):
        self.asked = 0

    def Check(self, request, context):  # noqa: N802 - the name of the service
        self.asked += 1
        status = health_pb2.HealthCheckResponse
        return status(status=status.SERVING if self.asked == 3 else status.NOT_SERVING)


def test_a_client_waits_until_the_server_says_that_it_is_ready(capsys):
    """A server that accepts connections may have workers that do not have their live positions yet."""
    health = _Health()
    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert (
            main(["quote", "--address", f"127.0.0.1:{port}", "--wait", "60", "--customer", "C1", "S4"]) == 1
        )
    finally:
        server.stop(None)
    assert health.asked == 3, "it was asked until it was ready, and the quote was sent then"
    assert "UNIMPLEMENTED" in capsys.readouterr().err


@pytest.mark.slow
def test_health_says_how_the_server_and_its_services_are(store, monkeypatch, capsys):
    with running(store, "--workers", "1") as server:
        assert main(["health", "--address", server.address, "--wait", "60"]) == 0
        lines = capsys.readouterr().out.splitlines()
    names = [name.rpartition(".")[2] for name in SERVICES]
    assert [line.split() for line in lines] == [
        ["SERVICE", "STATUS"],
        *([n, "SERVING"] for n in ["server", *names]),
    ]

    monkeypatch.setenv("PRICEGRID_ADDRESS", server.address)
    assert main(["health"]) == 1
    assert "UNAVAILABLE" in capsys.readouterr().out
    assert set(service_names()) == set(SERVICES)
    assert main(["health", "--address", server.address, "--json"]) == 1
    assert {row["status"] for row in json.loads(capsys.readouterr().out)} == {"UNAVAILABLE"}


def test_who_waits_in_vain_is_told_so(capsys):
    assert main(["quote", "--address", "127.0.0.1:1", "--wait", "0.3", "--customer", "C1", "S4"]) == 1
    assert "UNAVAILABLE: no server at 127.0.0.1:1 within 0.3 seconds" in capsys.readouterr().err


def completed(line, tmp_path):
    """What a shell would offer after this line."""
    said = tmp_path / "said"
    environment = {**os.environ, "_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(said)}
    environment |= {"_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    subprocess.run([sys.executable, "-m", "pricegrid.service.cli.main"], env=environment, check=False)
    return [word.rstrip() for word in said.read_text().split("\n")]


def test_a_shell_completes_commands_and_options(tmp_path):
    assert "quote" in completed("pricegrid qu", tmp_path)
    assert {"--customer", "--currency"} <= set(completed("pricegrid quote --cu", tmp_path))
    assert "activate" in completed("pricegrid snapshots a", tmp_path)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell, capsys):
    assert main(["completion", shell]) == 0
    assert "pricegrid" in capsys.readouterr().out


# ---- tables


class Terminal(io.StringIO):
    def isatty(self):
        return True


def printed(header, rows, right=(), out=None):
    out = out or Terminal()
    with contextlib.redirect_stdout(out):
        text.print_table(header, rows, right)
    return out.getvalue().splitlines()


@pytest.fixture(autouse=True)
def a_terminal_of_100_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")


def test_a_table_that_fits_stays_as_it_is():
    assert printed(["A", "N"], [["x", "1"], ["yy", "22"]], right=(1,)) == ["A    N", "x    1", "yy  22"]


def test_a_wide_table_first_leaves_out_what_says_nothing():
    lines = printed(["SKU", "-" * 50, "B"], [["x", "-", "b" * 60], ["y", "", "b"]])

    assert lines == ["SKU  B", f"x    {'b' * 60}", "y    b"]


def test_a_wide_table_tells_the_rest_under_each_row():
    header, row = [f"C{number}" for number in range(30)], [f"v{number}" * 3 for number in range(30)]

    lines = printed(header, [row, row])

    assert max(map(len, lines)) <= 100
    assert all(cell in " ".join(lines) for cell in row)
    assert f"c29 {row[29]}" in lines[-1]


def test_for_another_program_a_table_has_all_columns_and_a_line_a_row():
    lines = printed(["SKU", "-" * 90, "B"], [["x", "-", "b" * 60]], out=io.StringIO())

    assert [line.split() for line in lines] == [["SKU", "-" * 90, "B"], ["x", "-", "b" * 60]]


def test_a_confidence_is_a_decimal():
    parser = argparse.ArgumentParser()
    supply.add_supply_arguments(parser, past_due=True)
    assert parser.parse_args(["--min-confidence", "0.25"]).min_confidence == Decimal("0.25")
