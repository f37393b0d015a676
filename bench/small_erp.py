"""The small ERP of the tests in a process of its own: prints its URL, then takes the name of a fault a line."""

import sys

from tests.erp_server import Fault, SmallErp, serving


def main() -> None:
    erp = SmallErp()
    erp.prices = {("", "X1"): "9.75"}
    with serving(erp):
        print(erp.url, flush=True)
        for line in sys.stdin:
            erp.fault = Fault[line.strip()]
            print(erp.fault.name, flush=True)


if __name__ == "__main__":
    main()
