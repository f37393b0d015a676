"""`pricegrid erp`: is the ERP there, what is flagged, what is kept of it, and which answers were refused."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from pricegrid.erp.operator_flags import OperatorFlags
from pricegrid.service.cli.flags import add_flag_arguments, clear_flag, list_flags, set_flag
from pricegrid.service.cli.text import UsageError, print_json_list, print_table
from pricegrid.service.clock import instant_of_us, instant_text, now_us

if TYPE_CHECKING:
    from pricegrid.erp.dead_letters import DeadLetterFile, KeptLetter
    from pricegrid.erp.gateway import ErpGateway
    from pricegrid.erp.validation import PriceCheck

REPLAY_TIMEOUT_S = 10.0


def add_erp_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `erp`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="read a configuration and see whether the ERP answers")
    check.add_argument("--erp-config", metavar="FILE", type=Path, required=True, help="how to reach the ERP")
    check.add_argument("--json", action="store_true", help="print JSON")

    def with_store(name: str, summary: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=summary)
        action.add_argument(
            "--store", metavar="DIR", type=Path, required=True, help="the store that is served"
        )
        action.add_argument("--json", action="store_true", help="print JSON")
        return action

    with_store("flags", "list what is flagged: every line of it is an exception")
    flag = with_store("flag", "flag a customer, an item or a book, of running servers too")
    unflag = with_store("unflag", "take a flag away")
    add_flag_arguments(flag, is_new=True)
    add_flag_arguments(unflag, is_new=False)
    invalidate = with_store("invalidate", "use no answer of the ERP kept until now: the next is asked")
    invalidate.add_argument("--customer", metavar="ID", default="", help="only this customer's")
    invalidate.add_argument("--sku", metavar="SKU", default="", help="only this item's")
    letters = with_store("dead-letters", "list the answers that were refused")
    letters.add_argument("--id", metavar="ID", help="only this one, with all that is known of it")
    replay = with_store("replay", "ask refused questions again; those answered well are dropped")
    replay.add_argument("--erp-config", metavar="FILE", type=Path, required=True, help="how to reach the ERP")
    drop = with_store("drop", "forget a refused answer")
    for action in (replay, drop):
        action.add_argument(
            "id", nargs="*" if action is replay else "+", metavar="ID", help="which (replay: all)"
        )


def run_erp(args: argparse.Namespace) -> int:
    """Runs an action: 0 done, 1 not possible or answered no."""
    from pricegrid.erp.protocol import ErpError

    if args.action != "check" and not args.store.is_dir():
        raise UsageError(f"{args.store} is no directory")
    run: dict[str, Callable[[argparse.Namespace], int]] = {
        "check": _check,
        "flags": list_flags,
        "flag": set_flag,
        "unflag": clear_flag,
        "invalidate": _invalidate,
        "dead-letters": _dead_letters,
        "replay": _replay,
        "drop": _drop,
    }
    try:
        return run[args.action](args)
    except ErpError as error:
        print(f"pricegrid: {error}", file=sys.stderr)
        return 1


def _check(args: argparse.Namespace) -> int:
    import asyncio

    from pricegrid.erp.adapters import check_config, make_adapter
    from pricegrid.erp.protocol import ErpError

    settings = check_config(args.erp_config)

    async def ping() -> None:
        adapter = make_adapter(settings)
        try:
            await adapter.ping(monotonic() + REPLAY_TIMEOUT_S)
        finally:
            await adapter.close()

    begin_s = monotonic()
    try:
        asyncio.run(ping())
    except ErpError as error:
        _say(args, {"erp": settings.name, "answers": False, "error": str(error)}, f"{settings.name}: {error}")
        return 1
    took_ms = round((monotonic() - begin_s) * 1000)
    _say(
        args,
        {"erp": settings.name, "answers": True, "took_ms": took_ms},
        f"{settings.name} answers, {took_ms} ms",
    )
    return 0


def _invalidate(args: argparse.Namespace) -> int:
    OperatorFlags(args.store).invalidate(args.customer, args.sku, now_us())
    _say(args, {"invalidated": True}, "what was kept until now is not used any more")
    return 0


def _dead_letters(args: argparse.Namespace) -> int:
    from pricegrid.erp.dead_letters import DeadLetterFile

    letters = DeadLetterFile(args.store).letters()
    if args.id:
        letters = [letter for letter in letters if letter.letter_id == args.id]
        if not letters:
            print(f"pricegrid: there is no dead letter {args.id}", file=sys.stderr)
            return 1
        print(json.dumps(_document(letters[0]), ensure_ascii=False, indent=2))
        return 0
    if args.json:
        print_json_list(map(_document, letters))
        return 0
    header = ("ID", "LAST", "TIMES", "REASON", "QUESTION", "MESSAGE")
    rows = [
        (
            letter.letter_id,
            instant_text(instant_of_us(letter.last_us)),
            str(letter.times),
            letter.reason,
            " ".join(str(part) for part in letter.payload["question"].values() if part),
            letter.message,
        )
        for letter in letters
    ]
    print_table(header, rows, right=(2,))
    return 0


def _document(letter: KeptLetter) -> dict[str, object]:
    return {
        "id": letter.letter_id,
        "source": "erp",
        "reason": letter.reason,
        "message": letter.message,
        "first": instant_text(instant_of_us(letter.first_us)),
        "last": instant_text(instant_of_us(letter.last_us)),
        "times": letter.times,
        "payload": letter.payload,
    }


def _replay(args: argparse.Namespace) -> int:
    from pricegrid.erp.dead_letters import DeadLetterFile
    from pricegrid.erp.replay import ReplayError, replay
    from pricegrid.service.process.kernel_cache import use_kernel_cache

    use_kernel_cache(os.environ)

    file = DeadLetterFile(args.store)
    letters = [each for each in file.letters() if not args.id or each.letter_id in args.id]
    if missing := set(args.id) - {letter.letter_id for letter in letters}:
        print(f"pricegrid: there is no dead letter {min(missing)}", file=sys.stderr)
        return 1
    outcomes = []
    refreshed = _refreshed(args.store)
    with _gateway(args.erp_config, args.store, file) as gateway:
        for letter in letters:
            outcome = "refused or no answer"
            try:
                if (erp := letter.payload.get("erp")) != gateway.settings.name:
                    outcome = f"of another ERP, {erp}"
                elif replay(gateway, letter.payload, now_us(), monotonic() + REPLAY_TIMEOUT_S, refreshed):
                    file.drop(letter.letter_id)
                    outcome = "answered"
            except ReplayError as error:
                outcome = str(error)
            outcomes.append({"id": letter.letter_id, "outcome": outcome})
    if args.json:
        print_json_list(outcomes)
    else:
        print_table(("ID", "OUTCOME"), [(each["id"], each["outcome"]) for each in outcomes])
    return 0 if all(each["outcome"] == "answered" for each in outcomes) else 1


def _drop(args: argparse.Namespace) -> int:
    from pricegrid.erp.dead_letters import DeadLetterFile

    file = DeadLetterFile(args.store)
    dropped = [letter_id for letter_id in args.id if file.drop(letter_id)]
    _say(args, {"dropped": dropped}, f"{len(dropped)} dropped")
    return 0 if len(dropped) == len(args.id) else 1


def _refreshed(store: Path) -> Callable[[PriceCheck], PriceCheck]:
    """What the matrices say now; where they can't be asked, a check stays as it is."""
    import numpy as np

    from pricegrid.loaders.errors import SnapshotError
    from pricegrid.pricing_engine.engine import PriceAsk
    from pricegrid.pricing_engine.errors import PricingError
    from pricegrid.pricing_engine.model import ExceptionPolicy
    from pricegrid.service.erp_overlay.prices import price_check
    from pricegrid.service.process.bootstrap import load_snapshot

    try:
        loaded = load_snapshot(store, None, ExceptionPolicy(), verify=False)
    except SnapshotError:
        return lambda check: check

    def refreshed(check: PriceCheck) -> PriceCheck:
        question = check.question
        ask = PriceAsk(
            customer_id=question.customer_id,
            currency=question.currency,
            branch="",
            as_of_us=question.as_of_us,
            skus=[question.sku.encode()],
            quantities_micros=np.array([question.quantity_micros], np.int64),
            uoms=[question.uom.encode()],
            service_desk=True,
        )
        try:
            return price_check(loaded, ask, loaded.engine.price(ask), 0)
        except PricingError:
            return check

    return refreshed


@contextmanager
def _gateway(config: Path, store: Path, letters: DeadLetterFile) -> Iterator[ErpGateway]:
    from dataclasses import replace

    from pricegrid.cache.open import open_value_cache
    from pricegrid.erp.gateway import ErpGateway
    from pricegrid.erp.observe import NoErpMetrics
    from pricegrid.erp.settings import read_settings
    from pricegrid.service.erp_overlay.fallback import CACHE_FOLDER

    settings = read_settings(config)
    patient = replace(settings.limits, timeout_ms=int(REPLAY_TIMEOUT_S * 1000))
    settings = replace(settings, limits=patient)
    cache = open_value_cache(store / CACHE_FOLDER)
    void = OperatorFlags(store).read().is_invalidated
    gateway = ErpGateway(settings, cache, letters, NoErpMetrics(), now_us, invalidated=void)
    try:
        gateway.start()
        try:
            yield gateway
        finally:
            gateway.close()
    finally:
        cache.close()


def _say(args: argparse.Namespace, document: dict[str, object], words: str) -> None:
    print(json.dumps(document, ensure_ascii=False) if args.json else words)
