"""`pricegrid token`: keys and tokens for first steps and for tests, without an identity provider."""

import argparse
import sys
from pathlib import Path

from pricegrid.service.cli.text import UsageError
from pricegrid.service.clock import now_us
from pricegrid.service.identity.limits import MINT_TTL_S_DEFAULT, MINT_TTL_S_MAX

ISSUER_DEFAULT = "pricegrid-token"
AUDIENCE_DEFAULT = "pricegrid"
ROLES = ("storefront", "desk", "loader", "admin")


def add_token_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of `token`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    keys = actions.add_parser("keys", help="make a key, and add its public half to a key set")
    keys.add_argument(
        "--key", metavar="FILE", type=Path, required=True, help="the new file of the private key (mode 0600)"
    )
    keys.add_argument(
        "--jwks",
        metavar="FILE",
        type=Path,
        required=True,
        help="the key set that `jwks_file` names in auth.toml",
    )
    withdraw = actions.add_parser(
        "withdraw", help="remove a key from a key set: its tokens are refused at once"
    )
    withdraw.add_argument("--jwks", metavar="FILE", type=Path, required=True, help="the key set")
    withdraw.add_argument("kid", metavar="KID", help="the id of the key, as `keys` printed it")
    mint = actions.add_parser("mint", help="print a token, signed with a key")
    mint.add_argument("--key", metavar="FILE", type=Path, required=True, help="the private key")
    mint.add_argument("--role", choices=ROLES, required=True, help="what its owner is")
    mint.add_argument(
        "--customers",
        metavar="ID",
        nargs="+",
        default=[],
        help="whom they may ask for: C7, 'G00001/*' (one and all below), '*' (all); none by default",
    )
    mint.add_argument(
        "--scopes", metavar="SCOPE", nargs="+", default=[], help="of the role's scopes only these"
    )
    mint.add_argument(
        "--subject", metavar="NAME", default="pricegrid", help="who it is for (default %(default)s)"
    )
    mint.add_argument(
        "--issuer", metavar="NAME", default=ISSUER_DEFAULT, help="as in auth.toml (default %(default)s)"
    )
    mint.add_argument(
        "--audience", metavar="NAME", default=AUDIENCE_DEFAULT, help="as there (default %(default)s)"
    )
    mint.add_argument(
        "--ttl",
        metavar="S",
        type=_ttl,
        default=MINT_TTL_S_DEFAULT,
        help="seconds it is valid (default %(default)s)",
    )
    mint.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="write it there (mode 0600), as --token-file takes it, and print nothing",
    )


def run_token(args: argparse.Namespace) -> int:
    """Makes a key or a token: 0 done, 1 it can't be made."""
    from pricegrid.service.identity.mint import MintError

    try:
        return {"keys": _keys, "withdraw": _withdraw, "mint": _mint}[args.action](args)
    except (MintError, OSError) as error:
        print(f"pricegrid: {error}", file=sys.stderr)
        return 1


def _keys(args: argparse.Namespace) -> int:
    from pricegrid.service.identity.mint import make_key

    print(make_key(args.key, args.jwks))
    return 0


def _withdraw(args: argparse.Namespace) -> int:
    from pricegrid.service.identity.mint import withdraw_key

    withdraw_key(args.jwks, args.kid)
    return 0


def _mint(args: argparse.Namespace) -> int:
    from pricegrid.service.identity.files import write_private
    from pricegrid.service.identity.mint import Grant, mint, read_key
    from pricegrid.service.identity.scopes import Role, Scope

    try:
        scopes = tuple(map(Scope, args.scopes))
    except ValueError:
        raise UsageError(f"--scopes may hold {', '.join(Scope)}") from None
    grant = Grant(
        args.issuer, args.audience, args.subject, Role(args.role), tuple(args.customers), scopes, args.ttl
    )
    token = mint(read_key(args.key), grant, now_us() // 1_000_000)
    if args.out is None:
        print(token)
    else:
        write_private(args.out, token + "\n")
    return 0


def _ttl(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MINT_TTL_S_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 1 to {MINT_TTL_S_MAX}")
    return int(text)
