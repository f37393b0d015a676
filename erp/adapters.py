"""From a configuration to its adapter."""

import asyncio
from pathlib import Path

from pricegrid.erp.protocol import ErpAdapter
from pricegrid.erp.settings import ErpSettings, read_settings


def make_adapter(settings: ErpSettings) -> ErpAdapter:
    """The adapter that the configuration names; inside the event loop that will use it. Raises ErpConfigError."""
    if settings.adapter == "tryton":
        from pricegrid.erp.tryton import TrytonAdapter

        return TrytonAdapter(settings)
    from pricegrid.erp.http_json import HttpJsonAdapter

    return HttpJsonAdapter(settings)


def check_config(path: Path) -> ErpSettings:
    """Reads a configuration with its adapter's part; raises ErpConfigError. Asks nothing."""
    settings = read_settings(path)

    async def make() -> None:
        await make_adapter(settings).close()

    asyncio.run(make())
    return settings
