"""Makes the dashboards beside it, one for each role: `python -m deploy.grafana.make_dashboards`."""

import json
from pathlib import Path
from typing import Final

from deploy.grafana.customer_service import CUSTOMER_SERVICE
from deploy.grafana.finance import FINANCE
from deploy.grafana.it import IT
from deploy.grafana.layout import Dashboard, grafana
from deploy.grafana.operations import OPERATIONS

HERE: Final = Path(__file__).parent
DASHBOARDS: Final = (OPERATIONS, CUSTOMER_SERVICE, FINANCE, IT)


def place(dashboard: Dashboard) -> Path:
    """Its file."""
    return HERE / f"{dashboard.name}.json"


def text(dashboard: Dashboard) -> str:
    """What is in it: a panel a line, so that a change of one is a change of one."""
    made = grafana(dashboard)
    panels = ",\n".join(json.dumps(panel, ensure_ascii=False) for panel in made.pop("panels"))
    head = json.dumps(made, indent=1, ensure_ascii=False).removesuffix("\n}")
    return f'{head},\n "panels": [\n{panels}\n ]\n}}\n'


if __name__ == "__main__":
    for each in DASHBOARDS:
        place(each).write_text(text(each), encoding="utf-8")
