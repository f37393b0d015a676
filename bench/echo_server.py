"""The floor of a call: a grpcio server of the same kind as `pricegrid serve`'s workers that does nothing.

Sync server, as many threads, messages as bytes, one handler a size: `/bench.Echo/N` answers whatever it is sent with
the same N bytes. `python -m bench.echo_server CORE THREADS BYTES ...` prints its address when it is ready.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

SERVICE = "bench.Echo"


def main() -> None:
    core, threads, *sizes = map(int, sys.argv[1:])
    os.sched_setaffinity(0, {core})
    server = grpc.server(ThreadPoolExecutor(threads), options=[("grpc.max_send_message_length", 1 << 26)])
    handlers = {
        str(size): grpc.unary_unary_rpc_method_handler(lambda _raw, _context, canned=bytes(size): canned)
        for size in sizes
    }
    server.add_registered_method_handlers(SERVICE, handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
