"""The writer's server over live state of its own, or its floor: the same server, whose handlers run an empty script.

`python -m bench.reservation_server SOCKET (SQLite|Redis) REDIS_PORT FOLDER SIZE STORE`, or `SOCKET script REDIS_PORT`.
"""

import os
import sys
from pathlib import Path

from pricegrid.service.process.kernel_cache import use_kernel_cache
from pricegrid.service.rpc.response import Response

use_kernel_cache(os.environ)  # before any kernel is imported

import grpc  # noqa: E402

from bench import datasets as data  # noqa: E402
from bench.place import Place  # noqa: E402
from bench.reservations import empty_script, opened  # noqa: E402
from pricegrid import v1  # noqa: E402
from pricegrid.cache.redis_options import RedisOptions  # noqa: E402
from pricegrid.service.limits import WRITER_THREADS  # noqa: E402
from pricegrid.service.live.writer_link import build_writer_server  # noqa: E402
from pricegrid.service.rpc.call import Mutation  # noqa: E402
from pricegrid.service.rpc.handlers import Handlers  # noqa: E402
from pricegrid.service.rpc.metrics import NoMetrics  # noqa: E402
from pricegrid.service.rpc.pools import ThreadPools  # noqa: E402
from tests.redis_servers import HOST  # noqa: E402


def floor(options: RedisOptions, socket: Path) -> grpc.Server:
    """As `build_writer_server` builds it, with nothing behind but the script."""
    pools = ThreadPools(mutation_threads=WRITER_THREADS)
    server = grpc.server(pools.mutations)
    run = empty_script(options)
    canned = v1.ReserveResponse(reservation=v1.Reservation(reservation_id="R0")).SerializeToString()

    def answer(_: bytes, __: object) -> Response:
        run()
        return Response(canned)

    offered = {v1.AVAILABILITY_SERVICE: dict.fromkeys(("Reserve", "ConfirmReservation"), Mutation(answer))}
    Handlers(offered, NoMetrics(), pools.mutations.queue, pools=pools).register(server)
    server.add_insecure_port(f"unix:{socket}")
    return server


def main(socket: str, kind: str, port: str, folder: str = "", size: str = "", store: str = "") -> None:
    """Serves until it is ended."""
    options = RedisOptions(nodes=((HOST, int(port)),))
    if kind == "script":
        server = floor(options, Path(socket))
    else:
        # each kind with a state of its own in the same Redis
        cache = opened(kind, options.with_options(prefix="over"), Path(folder))
        live, _ = Place(getattr(data, size), Path(store)).live(cache)
        server = build_writer_server(live, Path(socket))
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
