"""What the health service says of a worker."""

from grpc_health.v1 import health, health_pb2

from pricegrid import v1
from pricegrid.service.rpc.services import SERVICES


class HealthStatuses:
    """The statuses of the health service (docs/api.md): prices are served whatever the state of live positions."""

    def __init__(self, servicer: health.HealthServicer) -> None:
        self._servicer = servicer
        self._reported: dict[str, bool] = {}

    def update(self, *, is_complete: bool, is_live_proven: bool) -> None:
        """Set the statuses that have changed. The call of `Check` blocks if the health service hangs, which stops the
        loop and so the heartbeats."""
        self._servicer.Check(health_pb2.HealthCheckRequest(), None)  # type: ignore[arg-type]  # needs no context
        now = dict.fromkeys((health.OVERALL_HEALTH, *SERVICES), is_complete)
        now[v1.PRICING_SERVICE] = True
        now[v1.AVAILABILITY_SERVICE] = is_complete and is_live_proven
        serving = health_pb2.HealthCheckResponse
        for name, is_serving in now.items():
            if self._reported.get(name) != is_serving:
                self._servicer.set(name, serving.SERVING if is_serving else serving.NOT_SERVING)
        self._reported = now
