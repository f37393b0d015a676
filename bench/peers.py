"""What a user would take instead, on the same cells and the same machine: Redis, PostgreSQL, SQLite, Polars.

All hold every cell of one dataset, (book, SKU) → price, and are asked for the list prices of N random items, other
ones each time: the price by its key, and nothing else. That is less than ours do. `PriceLines` of the list is the
same question, with currency, breaks, extended price and `valid_until`; `QuoteLines` is asked for random customers of
three levels, finds their price among six bundles, and adds what two branches can promise and when. A peer would take
one call a bundle for the first, and code of its own for the rest.

One client, one call in flight; the client on one core, the servers on another. Each is asked in turn, for some
rounds, and the figure is the median of the rounds' medians. A call begins with the SKUs, or the request message, in
the client's hands and ends with what its driver makes of the answer; ours is asked as a generated stub does it. Beside
it stand what grpcio takes for an echo of the same bytes, and our server asked by the bare client of
`bench.http2_load`, which like the one for Redis does little but write and read bytes.

Redis is asked by HMGET with hiredis over a unix socket (a hash a book), PostgreSQL by a prepared `= ANY` over a unix
socket with psycopg (binary; a covering primary key), SQLite in memory, in process, by `IN`. Polars filters its frame,
which reads all of it: what a data frame without an index costs.

`python -m bench.peers SIZE FOLDER ROUNDS` measures the dataset and the store in FOLDER and prints one JSON object.
"""

import json
import os
import socket
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pricegrid.service.process.kernel_cache import use_kernel_cache

if (
    __name__ == "__main__"
):  # in this process alone, and before redis-py is imported, which looks for hiredis then
    sys.path.append(str(Path(__file__).resolve().parent.parent / ".bench"))
use_kernel_cache(os.environ)  # before any kernel is imported

import grpc  # noqa: E402
import numpy as np  # noqa: E402
import polars as pl  # noqa: E402

from bench import datasets as data  # noqa: E402
from bench.echo_server import SERVICE  # noqa: E402
from bench.http2_load import Connection  # noqa: E402
from bench.kernel import Questions, quote_bytes, request_bytes  # noqa: E402
from bench.measure import Figure, child, figure, median_us  # noqa: E402
from bench.postgres_server import UnavailableError, postgres_server  # noqa: E402
from bench.rpc import (  # noqa: E402
    PRICE_LINES,
    QUOTE_LINES,
    cores,
    echo_server,
    median_answer_bytes,
    on_core,
    pricegrid_server,
)
from pricegrid import v1  # noqa: E402
from pricegrid.pricing_engine.engine import PriceAsk  # noqa: E402
from pricegrid.pricing_engine.model import MICROS, ExceptionPolicy  # noqa: E402
from pricegrid.service.methods.pricing import PricingService  # noqa: E402
from pricegrid.service.methods.quotes import QuoteService  # noqa: E402
from pricegrid.service.process.bootstrap import load_snapshot  # noqa: E402
from pricegrid.service.process.snapshots import SnapshotHolder  # noqa: E402
from pricegrid.service.rpc.call import Caller  # noqa: E402

LINES = (1, 10, 100, 1000)
BOOK = "LIST"
REDIS, REDIS_BARE = "Redis HMGET, redis-py with hiredis", "Redis HMGET, bare hiredis client"
POSTGRES, SQLITE, POLARS = "PostgreSQL = ANY, psycopg", "SQLite in process", "Polars filter"
PRICE_RPC, QUOTE_RPC, ECHO = "PriceLines over gRPC", "QuoteLines over gRPC", "grpcio echo of a quote's bytes"
PRICE_BARE, QUOTE_BARE = "PriceLines, bare HTTP/2 client", "QuoteLines, bare HTTP/2 client"
PRICE_CALL, QUOTE_CALL = "PriceLines in process", "QuoteLines in process"
_CALLS = {1: 400, 10: 300, 100: 150, 1000: 60}
_SLOW_CALLS = 10  # of what takes milliseconds however little is asked
_OPTIONS = [("grpc.max_receive_message_length", 1 << 26)]
WHO = (
    *(REDIS, REDIS_BARE, POSTGRES, SQLITE, POLARS),
    *(PRICE_RPC, QUOTE_RPC, ECHO, PRICE_BARE, QUOTE_BARE, PRICE_CALL, QUOTE_CALL),
)
"""In the order of the table."""

Ask = Callable[[Sequence[str]], Any]
"""Prices of the list for some SKUs, as the driver hands them over."""


def cells_of(dataset: Path) -> pl.DataFrame:
    """Every cell of an item: (book, sku, price in micros), the first break alone."""
    entries = pl.scan_parquet(dataset / "price_entries.parquet")
    kept = entries.filter(pl.col("sku").is_not_null() & pl.col("min_quantity").is_null())
    price = (pl.col("value") * MICROS).cast(pl.Int64).alias("price")
    return kept.select(pl.col("book_id").alias("book"), "sku", price).sort("book", "sku").collect()


def sqlite_ask(cells: pl.DataFrame) -> Ask:
    """SQLite in memory; the key is the table."""
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE TABLE cells (book TEXT, sku TEXT, price INTEGER, PRIMARY KEY (book, sku)) WITHOUT ROWID"
    )
    connection.executemany("INSERT INTO cells VALUES (?, ?, ?)", cells.iter_rows())
    connection.commit()
    queries = {
        n: f"SELECT sku, price FROM cells WHERE book = ? AND sku IN ({','.join('?' * n)})" for n in LINES
    }
    return lambda skus: connection.execute(queries[len(skus)], (BOOK, *skus)).fetchall()


def polars_ask(cells: pl.DataFrame) -> Ask:
    """A filter of the whole frame."""
    frame = cells.lazy()

    def ask(skus: Sequence[str]) -> list[tuple[Any, ...]]:
        wanted = (pl.col("book") == BOOK) & pl.col("sku").is_in(skus)
        return frame.filter(wanted).select("sku", "price").collect().rows()

    return ask


@contextmanager
def redis_asks(cells: pl.DataFrame, folder: Path, core: int) -> Iterator[tuple[Ask, Ask]]:
    """Redis over a unix socket: by redis-py, and with no client but hiredis, which packs and reads in C."""
    import hiredis
    import redis

    from tests.redis_servers import redis_server

    if not issubclass(redis.connection.DefaultParser, redis._parsers._HiredisParser):  # noqa: SLF001
        raise UnavailableError("redis-py did not take hiredis up")
    at = folder / "redis.sock"
    with ExitStack() as stack:
        with on_core(core):
            stack.enter_context(redis_server(folder / "redis", "--unixsocket", str(at)))
        link = stack.enter_context(socket.socket(socket.AF_UNIX))
        link.connect(str(at))
        reader = hiredis.Reader()

        def call(*commands: tuple[Any, ...]) -> list[Any]:
            link.sendall(b"".join(hiredis.pack_command(command) for command in commands))
            replies: list[Any] = []
            while len(replies) < len(commands):
                while (reply := reader.gets()) is not False:
                    replies.append(reply)
                if len(replies) < len(commands):
                    reader.feed(link.recv(1 << 18))
            return replies

        for part in cells.partition_by("book", maintain_order=True):
            book = part["book"][0]
            for rows in part.iter_slices(5_000):
                pairs = [each for row in rows.select("sku", "price").iter_rows() for each in row]
                call(("HSET", book, *pairs))
        client = stack.enter_context(redis.Redis(unix_socket_path=str(at)))
        yield lambda skus: client.hmget(BOOK, skus), lambda skus: call(("HMGET", BOOK, *skus))[0]


@contextmanager
def postgres_ask(cells: pl.DataFrame, core: int) -> Iterator[Ask]:
    """PostgreSQL over a unix socket: one prepared statement, answered from its primary key alone."""
    import psycopg

    with ExitStack() as stack:
        with on_core(core):
            address = stack.enter_context(postgres_server())
        connection = stack.enter_context(_connected(psycopg, address))
        cursor = connection.cursor(binary=True)
        cursor.execute('CREATE TABLE cells (book text COLLATE "C", sku text COLLATE "C", price bigint)')
        with cursor.copy("COPY cells FROM STDIN") as copy:
            for rows in cells.iter_slices(200_000):
                copy.write(rows.write_csv(separator="\t", include_header=False).encode())
        cursor.execute("ALTER TABLE cells ADD PRIMARY KEY (book, sku) INCLUDE (price)")
        connection.commit()
        connection.autocommit = True
        cursor.execute("VACUUM ANALYZE cells")
        query = "SELECT sku, price FROM cells WHERE book = %s AND sku = ANY(%s)"
        yield lambda skus: cursor.execute(query, (BOOK, skus), prepare=True).fetchall()


def _connected(psycopg: Any, address: str) -> Any:
    """A connection, as soon as the server takes one."""
    give_up_s = time.monotonic() + 30
    while True:
        try:
            return psycopg.connect(address)
        except psycopg.OperationalError as error:
            if time.monotonic() > give_up_s:
                raise UnavailableError(f"it takes no connections: {error}") from error
            time.sleep(0.05)


def prices_by_sku(skus: Sequence[str], answer: Any) -> dict[str, int]:
    """What a driver handed over, by SKU; hiredis has values in the order asked, the others rows."""
    if len(answer) and isinstance(answer[0], tuple):
        return {sku: int(price) for sku, price in answer}
    return {sku: int(price) for sku, price in zip(skus, answer, strict=True)}


def check_same(asks: Mapping[str, Ask], price_lines: Callable[[bytes], bytes], asked: PriceAsk) -> None:
    """All peers have the price that we have; raises if one has not."""
    answer = v1.PriceLinesResponse.FromString(price_lines(request_bytes(asked)))
    skus = [sku.decode() for sku in asked.skus]
    expected = {sku: line.unit_price_micros for sku, line in zip(skus, answer.results, strict=True)}
    for who, ask in asks.items():
        found = prices_by_sku(skus, ask(skus))
        if found != expected:
            raise AssertionError(f"{who} has other prices: {found} instead of {expected}")


def list_ask(questions: Questions, lines: int) -> PriceAsk:
    """One each of random items, for nobody in particular."""
    asked = questions.ask(lines, "list")
    return PriceAsk("", "EUR", "", data.AS_OF_US, asked.skus, np.full(lines, MICROS), asked.uoms)


class _Ours:
    """Our server, an echo server, and our services over the same store."""

    def __init__(
        self, size: data.Size, store: Path, address: str, echo: tuple[str, Mapping[int, int]]
    ) -> None:
        loaded = load_snapshot(store, None, ExceptionPolicy(), verify=False)
        holder = SnapshotHolder(loaded, lambda _: loaded)
        prices, quotes = (
            service(holder, lambda: data.AS_OF_US) for service in (PricingService, QuoteService)
        )
        caller = Caller("bench")
        self._branches = data.branch_names(size)
        self._address, (echo_address, self._echo_bytes) = address, echo
        self.price_lines: Callable[[bytes], bytes] = lambda raw: prices.price_lines(raw, caller).raw
        self.quote_lines: Callable[[bytes], bytes] = lambda raw: quotes.quote_lines(raw, caller).raw
        self._channel, self._echo = (
            grpc.insecure_channel(at, options=_OPTIONS) for at in (address, echo_address)
        )

    def calls(self, questions: Questions, lines: int, count: int) -> dict[str, list[Callable[[], object]]]:
        """Calls by name, each with other items."""

        def prices() -> list[bytes]:
            return [request_bytes(list_ask(questions, lines)) for _ in range(count)]

        def quotes() -> list[bytes]:
            return [quote_bytes(questions.ask(lines, "mixed"), self._branches) for _ in range(count)]

        price = self._channel.unary_unary(
            PRICE_LINES.path, *_stub(v1.PriceLinesRequest, v1.PriceLinesResponse)
        )
        quote = self._channel.unary_unary(
            QUOTE_LINES.path, *_stub(v1.QuoteLinesRequest, v1.QuoteLinesResponse)
        )
        echo = self._echo.unary_unary(f"/{SERVICE}/{self._echo_bytes[lines]}")
        return {
            PRICE_RPC: [partial(price, v1.PriceLinesRequest.FromString(raw)) for raw in prices()],
            QUOTE_RPC: [partial(quote, v1.QuoteLinesRequest.FromString(raw)) for raw in quotes()],
            ECHO: [partial(echo, raw) for raw in quotes()],
            PRICE_BARE: [Connection(self._address, PRICE_LINES.path, prices()).call] * count,
            QUOTE_BARE: [Connection(self._address, QUOTE_LINES.path, quotes()).call] * count,
            PRICE_CALL: [partial(self.price_lines, raw) for raw in prices()],
            QUOTE_CALL: [partial(self.quote_lines, raw) for raw in quotes()],
        }

    def close(self) -> None:
        self._channel.close()
        self._echo.close()


def _stub(request: Any, response: Any) -> tuple[Any, Any]:
    """What a generated stub gives a channel to make messages of bytes."""
    return request.SerializeToString, response.FromString


def measure_here(size: data.Size, folder: Path, rounds: int) -> dict[str, Any]:
    """Medians in µs by who and lines, what could not be measured, and how long it took to build each."""
    server_core, client_core = cores()
    cells, build_s = cells_of(folder / "dataset"), {}
    missing: dict[str, str] = {}
    asks: dict[str, Ask] = {}
    with ExitStack() as stack:
        makers: dict[tuple[str, ...], Callable[[], Sequence[Ask]]] = {
            (REDIS, REDIS_BARE): lambda: stack.enter_context(redis_asks(cells, folder, server_core)),
            (POSTGRES,): lambda: [stack.enter_context(postgres_ask(cells, server_core))],
            (SQLITE,): lambda: [sqlite_ask(cells)],
            (POLARS,): lambda: [polars_ask(cells)],
        }
        for names, make in makers.items():
            begin = time.perf_counter()
            try:
                asks.update(zip(names, make(), strict=True))
                build_s[names[0]] = time.perf_counter() - begin
            except ImportError as error:
                missing.update(dict.fromkeys(names, f"{error}; `make bench` sets it up"))
            except UnavailableError as error:
                missing.update(dict.fromkeys(names, str(error)))
        store = folder / "store"
        address, _ = stack.enter_context(pricegrid_server(store, server_core))
        questions, branches = Questions(size, seed=9), data.branch_names(size)
        some = {n: [quote_bytes(questions.ask(n, "mixed"), branches) for _ in range(9)] for n in LINES}
        answered = {n: median_answer_bytes(address, QUOTE_LINES.path, raws) for n, raws in some.items()}
        echo, _ = stack.enter_context(echo_server(server_core, set(answered.values())))
        ours = _Ours(size, store, address, (echo, answered))
        stack.callback(ours.close)
        os.sched_setaffinity(0, {client_core})
        p50 = _medians(asks, ours, questions, rounds)
    return {"p50_us": p50, "missing": missing, "build_s": build_s, "cells": len(cells)}


def _medians(
    asks: Mapping[str, Ask], ours: _Ours, questions: Questions, rounds: int
) -> dict[str, dict[int, float]]:
    seen: dict[str, dict[int, list[float]]] = {}
    for lines in LINES:
        check_same(asks, ours.price_lines, list_ask(questions, lines))
        for turn in range(rounds + 1):
            calls = ours.calls(questions, lines, _CALLS[lines])
            for who, ask in asks.items():
                count = _SLOW_CALLS if who == POLARS else _CALLS[lines]
                calls[who] = _peer_calls(ask, (list_ask(questions, lines) for _ in range(count)))
            for who, made in calls.items():
                spent = median_us(made)
                if turn:  # the first warms up
                    seen.setdefault(who, {}).setdefault(lines, []).append(spent)
    return {who: {n: statistics.median(some) for n, some in by.items()} for who, by in seen.items()}


def _peer_calls(ask: Ask, asked: Iterable[PriceAsk]) -> list[Callable[[], object]]:
    return [partial(ask, [sku.decode() for sku in each.skus]) for each in asked]


def measure(size: str, folder: Path, rounds: int) -> tuple[list[Figure], dict[str, Any]]:
    """Quotes beside Redis and PostgreSQL as figures, and everything for the table and the plot."""
    details = child("bench.peers", size, str(folder), str(rounds))
    return figures(details), details


_PAIRS = (
    (QUOTE_RPC, REDIS),
    (QUOTE_BARE, REDIS_BARE),
    (QUOTE_RPC, POSTGRES),
    (PRICE_RPC, REDIS),
    (PRICE_RPC, POSTGRES),
)
"""What is compared: stubs with drivers, bare clients with each other."""


def figures(details: dict[str, Any]) -> list[Figure]:
    """Ours to each of the two servers: less than 1 is ahead."""
    made = []
    for lines in LINES:
        for ours, who in _PAIRS:
            name = f"p50 of one call in flight, {ours}, {lines:,} line{'s' if lines > 1 else ''}"
            goal = "< 1×" if lines >= 100 else ""
            reached = details["p50_us"][ours][str(lines)]
            if who in details["missing"]:
                made.append(
                    Figure(name, goal, reached, None, f"{who}: {details['missing'][who]}", "µs", None)
                )
            else:
                made.append(figure(name, goal, reached, details["p50_us"][who][str(lines)], who, "µs"))
    return made


def table(details: dict[str, Any]) -> str:
    """Everyone's medians as Markdown."""
    head = "| p50, µs | " + " | ".join(f"{n:,} line{'s' if n > 1 else ''}" for n in LINES) + " |"
    rows = [f"{details['cells']:,} cells.", "", head, "|---|" + "---|" * len(LINES)]
    for who in WHO:
        if who in details["missing"]:
            rows.append(f"| {who} | not measured: {details['missing'][who]} |" + " |" * (len(LINES) - 1))
        else:
            medians = [details["p50_us"][who][str(n)] for n in LINES]
            rows.append(
                f"| {who} | " + " | ".join(f"{us:,.0f}" if us >= 10 else f"{us:.1f}" for us in medians) + " |"
            )
    return "\n".join(rows)


if __name__ == "__main__":
    print(json.dumps(measure_here(getattr(data, sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
