"""The small ERP of the tests in a process of its own: prints its URL, then takes lines that say what is wrong with it.

Each is the name of a fault of `tests.erp_server`, or STOPPED: its port refuses. It says the name again once it holds.
"""

import contextlib
import sys

from tests.erp_server import Fault, SmallErp, serving

STOPPED = "STOPPED"


def main() -> None:
    """Serves until its input ends."""
    erp = SmallErp()
    erp.prices = {("", "X1"): "9.75"}
    with contextlib.ExitStack() as stack:
        stack.enter_context(serving(erp))
        port = int(erp.url.rpartition(":")[2])
        is_up = True
        print(erp.url, flush=True)
        for line in sys.stdin:
            name = line.strip()
            if name == STOPPED and is_up:
                stack.close()
            elif name != STOPPED:
                erp.fault = Fault[name]
                if not is_up:
                    stack.enter_context(serving(erp, port))
            is_up = name != STOPPED
            print(name, flush=True)


if __name__ == "__main__":
    main()
