"""From a configuration to its adapter."""

from erp.protocol import ErpAdapter
from erp.settings import ErpSettings


def make_adapter(settings: ErpSettings) -> ErpAdapter:
    """The adapter that the configuration names; inside the event loop that will use it. Raises ErpConfigError."""
    if settings.adapter == "tryton":
        from erp.tryton import TrytonAdapter

        return TrytonAdapter(settings)
    from erp.http_json import HttpJsonAdapter

    return HttpJsonAdapter(settings)
