"""`pricegrid health`: whether a server is ready, service by service.

The messages of the health protocol (`grpc.health.v1`) are written and read by hand: the client alone does not have its
package.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Final

from pricegrid.service.cli.text import print_json_list, print_table, seconds_argument

if TYPE_CHECKING:
    import grpc

SERVING: Final = "SERVING"
NO_HEALTH_SERVICE: Final = "UNIMPLEMENTED"
_STATUSES: Final = ("UNKNOWN", SERVING, "NOT_SERVING", "SERVICE_UNKNOWN")
"""By the number of `HealthCheckResponse.ServingStatus`."""
_STATUS_TAG: Final = 0x08
_NAME_TAG: Final = b"\x0a"
_POLL_S: Final = 0.1


def add_health_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `health`."""
    from pricegrid.service.cli.client import add_identity_arguments

    parser.add_argument(
        "--address", metavar="HOST:PORT", required=True, help="the server to ask; or unix:PATH"
    )
    parser.add_argument(
        "--timeout", metavar="S", type=seconds_argument, default=5.0, help="seconds to wait for each answer"
    )
    parser.add_argument(
        "--wait",
        metavar="S",
        type=seconds_argument,
        default=0.0,
        help="seconds to wait until all is SERVING (default: do not wait)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_identity_arguments(parser)


def run_health(args: argparse.Namespace) -> int:
    """0 when the server and all of its services are SERVING, 1 otherwise."""
    from pricegrid.service.cli.client import server_channel

    services = ("", *service_names())
    until_s = time.monotonic() + args.wait
    with server_channel(args) as channel:
        while True:
            found = {name: health_of(channel, name, args.timeout) for name in services}
            is_well = set(found.values()) == {SERVING}
            if is_well or time.monotonic() >= until_s:
                break
            time.sleep(_POLL_S)
    rows = [(name.rpartition(".")[2] or "server", status) for name, status in found.items()]
    if args.json:
        print_json_list({"service": name, "status": status} for name, status in rows)
    else:
        print_table(["SERVICE", "STATUS"], rows)
    return 0 if is_well else 1


def service_names() -> tuple[str, ...]:
    """The services that have a health of their own."""
    from pricegrid import v1

    return (
        v1.PRICING_SERVICE,
        v1.AVAILABILITY_SERVICE,
        v1.QUOTE_SERVICE,
        v1.ORDER_SERVICE,
        v1.INVENTORY_FEED_SERVICE,
        v1.ADMIN_SERVICE,
    )


def health_of(channel: grpc.Channel, service: str, timeout_s: float) -> str:
    """The health of a service, or of the server as a whole by ''; the gRPC status if there is none.

    Each worker has a health of its own: it is that of the worker which this connection has reached.
    """
    import grpc

    check = channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
    name = service.encode()
    try:
        answer = check(_NAME_TAG + bytes([len(name)]) + name if name else b"", timeout=timeout_s)
    except grpc.RpcError as error:
        return str(error.code().name)
    status = answer[1] if len(answer) == 2 and answer[0] == _STATUS_TAG else 0
    return _STATUSES[status] if status < len(_STATUSES) else _STATUSES[0]
