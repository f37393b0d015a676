"""What identity costs a call: `python bench/identity.py` prints it beside a quote of one line over gRPC.

The quote is the server's CPU time a call, without identity, as `bench.rpc` measures it. A known token is what comes on
top for a token that was verified before: headers, hash, scope, grant. A new one is verified. A view is what a caller
with a customer grant costs beside one who may ask for all, in process. Last, how long a caller is refused who asks for
another's customer, beside one who asks for nobody: each of 10,000, in turn.
"""

import dataclasses
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from pricegrid.service.process.kernel_cache import use_kernel_cache  # noqa: E402

use_kernel_cache(os.environ)

import jwt  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm  # noqa: E402

from bench import datasets as data  # noqa: E402
from bench import kernel, loads, rpc  # noqa: E402
from bench.measure import median_us  # noqa: E402
from pricegrid.pricing_engine.model import ExceptionPolicy  # noqa: E402
from pricegrid.service.errors import refusal, trailing_metadata  # noqa: E402
from pricegrid.service.identity.config import AuthConfig, Issuer  # noqa: E402
from pricegrid.service.identity.gate import Gate  # noqa: E402
from pricegrid.service.identity.grants import CustomerGrant  # noqa: E402
from pricegrid.service.identity.messages import Keys  # noqa: E402
from pricegrid.service.methods.quotes import QuoteService  # noqa: E402
from pricegrid.service.process.bootstrap import load_snapshot  # noqa: E402
from pricegrid.service.process.snapshots import SnapshotHolder  # noqa: E402
from pricegrid.service.rpc.call import Caller  # noqa: E402

SIZE = "QUOTES_TENTH"
ISSUER = "https://login.example"
KNOWN_US_MAX, KNOWN_SHARE_MAX, NEW_US_MAX = 4.0, 0.03, 400.0
ROUNDS = 15

KEYS: dict[str, tuple[Any, Any]] = {
    "EdDSA": (Ed25519PrivateKey.generate(), OKPAlgorithm),
    "ES256": (ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    "RS256": (rsa.generate_private_key(65_537, 2048), RSAAlgorithm),
}


def token(algorithm: str, number: int, *customers: str) -> str:
    """A token of its own for each number."""
    now_s = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": "pricegrid",
        "sub": f"shop-{number}",
        "iat": now_s,
        "exp": now_s + 3_600,
        "pricegrid_role": "storefront",
        "pricegrid_customers": list(customers),
    }
    return jwt.encode(claims, KEYS[algorithm][0], algorithm, headers={"typ": "at+jwt", "kid": algorithm})


def new_gate() -> Gate:
    """A gate with the three keys."""
    rows = [
        {**json.loads(codec.to_jwk(key.public_key())), "kid": name, "alg": name}
        for name, (key, codec) in KEYS.items()
    ]
    config = AuthConfig(issuers=(Issuer(ISSUER, "pricegrid", Path("jwks.json")),))
    return Gate(config, Keys({ISSUER: json.dumps({"keys": rows})}), lambda _: None)


def admitting(gate: Gate) -> Callable[[str], Caller]:
    """What `Handlers` asks for a call with a token; the headers are those of a Python client."""
    admission, caller = gate.admission("pricegrid.v1.QuoteService", "QuoteLines"), Caller("bench")
    context: Any = None  # asked for certificates alone, of which there are none

    def admit(text: str) -> Caller:
        metadata = (
            ("user-agent", "grpc-python/1.85.1"),
            ("x-correlation-id", "bench"),
            ("authorization", text),
        )
        return admission.admitted(caller, metadata, context)

    return admit


def best(calls: Callable[[], list[Callable[[], object]]]) -> float:
    """The least of the rounds' medians: a disturbance only ever makes one slower."""
    return min(median_us(calls(), time.process_time_ns) for _ in range(ROUNDS))


def admissions() -> dict[str, float]:
    """µs a token, by what it is."""
    gate = new_gate()
    admit = admitting(gate)
    known = f"Bearer {token('RS256', 0, 'C7')}"
    admit(known)
    batch = 100

    def hundred() -> None:
        for _ in range(batch):
            admit(known)

    found = {"known": best(lambda: [hundred] * 50) / batch}
    for algorithm in KEYS:
        numbers = iter(range(1, 1_000_000))
        found[f"new, {algorithm}"] = best(
            lambda algorithm=algorithm, numbers=numbers: [
                partial(admit, f"Bearer {token(algorithm, next(numbers), 'C7')}") for _ in range(30)
            ]
        )
    return found


def refused(quote: Callable[[bytes, Caller], object], raw: bytes, caller: Caller) -> None:
    """A refusal as `Handlers` makes it."""
    try:
        quote(raw, caller)
    except Exception as error:  # noqa: BLE001 -- as a server's handlers do
        trailing_metadata(refusal(error), "bench")
        return
    raise AssertionError("it was answered")


def main() -> int:
    """Prints the figures; 1 when one is beyond what it may be."""
    size = getattr(data, SIZE)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        store = loads.publish(SIZE, folder / SIZE)
        quote_us = rpc.one_line_quote_us(size, store, folder)
        costs = admissions()
        loaded = load_snapshot(store, None, ExceptionPolicy())
        holder = SnapshotHolder(loaded, lambda _: loaded)
        quotes = QuoteService(holder, lambda: data.AS_OF_US)
        ask = kernel.Questions(size, seed=7).ask(1, "mixed")
        branches = data.branch_names(size)[:1]
        raw = kernel.quote_bytes(ask, branches)
        gate = new_gate()
        own = Caller("bench", customers=gate.allowed(CustomerGrant.of([ask.customer_id])))
        everyone = Caller("bench")
        assert quotes.quote_lines(raw, own).raw == quotes.quote_lines(raw, everyone).raw
        all_us = best(lambda: [partial(quotes.quote_lines, raw, everyone)] * 300)
        own_us = best(lambda: [partial(quotes.quote_lines, raw, own)] * 300)
        unequal = _times(quotes, ask, branches, loaded, gate)
    print(f"quote of one line over gRPC, server CPU:  {quote_us:8.1f} µs")
    for name, us in costs.items():
        print(f"token, {name:<34} {us:8.1f} µs   {us / quote_us:6.1%} of a quote")
    print(f"quote in process, all customers           {all_us:8.1f} µs")
    print(
        f"quote in process, one customer            {own_us:8.1f} µs   +{(own_us - all_us) / quote_us:.1%} of a quote"
    )
    forbidden_us, unknown_us = unequal
    print(f"refused, another's customer               {forbidden_us:8.1f} µs")
    print(
        f"refused, nobody's id                      {unknown_us:8.1f} µs   ratio {forbidden_us / unknown_us:.3f}"
    )
    wrong = [
        costs["known"] > KNOWN_US_MAX,
        costs["known"] / quote_us > KNOWN_SHARE_MAX,
        max(us for name, us in costs.items() if name.startswith("new")) > NEW_US_MAX,
        not 0.95 < forbidden_us / unknown_us < 1.05,
    ]
    return int(any(wrong))


def _times(
    quotes: QuoteService, ask: Any, branches: list[str], loaded: Any, gate: Gate
) -> tuple[float, float]:
    """(another's customer, nobody's id): the medians of 10,000 refusals of each, asked in turn."""
    engine = loaded.engine
    names = [engine.customer_id(number) for number in range(1, 101)]
    own = Caller("bench", customers=gate.allowed(CustomerGrant.of([engine.customer_id(0)])))
    others = [kernel.quote_bytes(dataclasses.replace(ask, customer_id=name), branches) for name in names]
    nobody = [
        kernel.quote_bytes(dataclasses.replace(ask, customer_id=f"{name[:-1]}~"), branches) for name in names
    ]
    took: tuple[list[int], list[int]] = ([], [])
    for turn in range(10_000):
        for kind, raws in enumerate((others, nobody)):
            began_ns = time.perf_counter_ns()
            refused(quotes.quote_lines, raws[turn % len(raws)], own)
            took[kind].append(time.perf_counter_ns() - began_ns)
    return statistics.median(took[0]) / 1_000, statistics.median(took[1]) / 1_000


if __name__ == "__main__":
    sys.exit(main())
