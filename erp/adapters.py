"""Makes the adapter that a configuration selects."""

import asyncio
from pathlib import Path

from pricegrid.erp.protocol import ErpAdapter
from pricegrid.erp.settings import ErpSettings, read_settings


def make_adapter(settings: ErpSettings) -> ErpAdapter:
    """The adapter that the configuration names. Call it in the event loop that will use it. Raises ErpConfigError."""
    if settings.adapter == "tryton":
        from pricegrid.erp.tryton import TrytonAdapter

        return TrytonAdapter(settings)
    from pricegrid.erp.http_json import HttpJsonAdapter

    return HttpJsonAdapter(settings)


def check_config(path: Path) -> ErpSettings:
    """Reads and validates a configuration including its adapter's part; raises ErpConfigError. Makes no calls."""
    settings = read_settings(path)

    async def make() -> None:
        await make_adapter(settings).close()

    asyncio.run(make())
    return settings
