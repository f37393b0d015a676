"""What is said of a metric: its name, type, unit and labels."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Kind(enum.Enum):
    """The types of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Exported(enum.Enum):
    """When it is exported."""

    ALWAYS = "Always"
    REDIS = "With `--redis-url`"
    ERP = "With `--erp-config`"
    FOLLOW = "With `--follow`"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as it is exported."""

    name: str
    """Of a counter with `_total`."""
    kind: Kind
    help: str
    unit: str
    labels: Mapping[str, tuple[str, ...] | str] = field(default_factory=dict)
    """By label its values, or in words what they are where they are names of a snapshot."""
    when: Exported = Exported.ALWAYS
    buckets: tuple[float, ...] = ()

    @property
    def declared(self) -> tuple[str, str, tuple[str, ...]]:
        """Name, help and labels, as `prometheus_client` takes them: it adds `_total` itself."""
        return self.name.removesuffix("_total"), self.help, tuple(self.labels)
