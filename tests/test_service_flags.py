"""A flag that is set while servers run makes exceptions of its lines, also without an ERP."""

import json

import pytest

from pricegrid import Client, ExceptionReason, Line, LineStatus
from pricegrid.erp.operator_flags import RELOAD_S, Flag, OperatorFlags
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.cli.main import main
from pricegrid.service.rpc.in_process import store_client
from tests.servers import running, until
from tests.stores import price_rows, publish

FLAGS = [("sku", "S4"), ("customer", "C1"), ("book", "LIST")]


@pytest.fixture
def store(tmp_path):
    publish(tmp_path / "store", price_rows())
    return tmp_path / "store"


Exceptions = list[ExceptionReason | None]


def exceptions(client: Client, *skus: str) -> tuple[Exceptions, Exceptions]:
    """Those of prices and those of quotes. A flag may be seen between the two."""
    lines = [Line(sku, 1) for sku in skus]
    priced = [each.exception for each in client.price_lines("C1", lines, timeout_s=30).lines]
    quoted = [each.price.exception for each in client.quote_lines("C1", lines, timeout_s=30).lines]
    return priced, quoted


def both(*expected: ExceptionReason | None) -> tuple[Exceptions, Exceptions]:
    return list(expected), list(expected)


def run(capsys, *words: object, code: int = 0) -> str:
    capsys.readouterr()
    assert main([str(word) for word in words]) == code
    return capsys.readouterr().out


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_marks_lines_while_it_stands(store, capsys, flag):
    with store_client(store, ExceptionPolicy()) as client:
        assert exceptions(client, "S4", "S5") == both(None, None)
        run(capsys, "flags", "set", *flag, "--store", store, "--reason", "rebate talks")
        until(lambda: exceptions(client, "S4") == both(ExceptionReason.FLAGGED), "the flag is seen")
        others = None if flag[0] == "sku" else ExceptionReason.FLAGGED
        assert exceptions(client, "S4", "S5") == both(ExceptionReason.FLAGGED, others)
        explained = client.explain_price("C1", Line("S4", 1)).document["answer"]
        assert (explained["exception"], explained["unit_price"]) == ("FLAGGED", "10")
        (listed,) = json.loads(run(capsys, "flags", "list", "--store", store, "--json"))
        run(capsys, "flags", "clear", *flag, "--store", store)
        until(lambda: exceptions(client, "S4") == both(None), "the flag is gone")

    assert (listed["kind"], listed["name"], listed["reason"]) == (*flag, "rebate talks")
    run(capsys, "flags", "clear", *flag, "--store", store, code=1)


def test_what_a_flag_marks_keeps_its_answer(store, capsys):
    run(capsys, "flags", "set", "customer", "C1", "--store", store)
    with store_client(store, ExceptionPolicy()) as client:
        lines = client.price_lines("C1", [Line(sku, 1) for sku in ("S4", "N1", "X1", "S1", "NONE")]).lines

    assert [(each.status, each.exception) for each in lines] == [
        (LineStatus.OK, ExceptionReason.FLAGGED),
        (LineStatus.NO_PRICE, ExceptionReason.NO_PRICE),
        (LineStatus.OK, ExceptionReason.PRICE_SOURCE_ERP),
        (LineStatus.BELOW_MINIMUM, ExceptionReason.FLAGGED),
        (LineStatus.UNKNOWN_ITEM, None),
    ]


def test_quote_on_a_store_sees_flags(store, capsys):
    run(capsys, "flags", "set", "sku", " S4 ", "--store", store)

    (row,) = json.loads(run(capsys, "quote", "--store", store, "--customer", "C1", "--json", "S4"))

    assert (row["unit_price"], row["exception"]) == ("10.00", "FLAGGED")


def test_a_flag_is_looked_for_several_times_a_second(store):
    now = [0.0]
    flags = OperatorFlags(store, clock=lambda: now[0])
    assert flags.state().flags == ()
    OperatorFlags(store).flag(Flag("sku", "S4", 1))
    now[0] += RELOAD_S

    assert flags.state().flagged("sku", "") == {"S4"}
    assert RELOAD_S < 1


def test_flags_need_a_store(tmp_path, capsys):
    run(capsys, "flags", "list", "--store", tmp_path / "none", code=2)


def test_every_worker_of_a_server_without_an_erp_sees_a_flag(store, capsys):
    def answers(server) -> list[tuple[Exceptions, Exceptions]]:
        found = []
        for _ in range(12):  # connections are spread over the workers
            with Client(server.address) as client:
                found.append(exceptions(client, "S4", "S5"))
        return found

    with running(store, "--workers", "2") as server:
        assert answers(server) == [both(None, None)] * 12
        run(capsys, "flags", "set", "sku", "S4", "--store", store)
        until(
            lambda: answers(server) == [both(ExceptionReason.FLAGGED, None)] * 12,
            "every worker sees the flag",
        )
        run(capsys, "flags", "clear", "sku", "S4", "--store", store)
        until(lambda: answers(server) == [both(None, None)] * 12, "every worker sees that it is gone")
