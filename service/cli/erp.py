"""`pricegrid erp`: is the ERP there, what is flagged, and what is kept of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from pricegrid.erp.operator_flags import OperatorFlags
from pricegrid.service.cli.flags import add_flag_arguments, clear_flag, list_flags, set_flag
from pricegrid.service.cli.text import UsageError
from pricegrid.service.clock import now_us

CHECK_TIMEOUT_S = 10.0


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
            await adapter.ping(monotonic() + CHECK_TIMEOUT_S)
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
    _say(args, {"invalidated": True}, "answers that were kept until now are no longer used")
    return 0


def _say(args: argparse.Namespace, document: dict[str, object], words: str) -> None:
    print(json.dumps(document, ensure_ascii=False) if args.json else words)
