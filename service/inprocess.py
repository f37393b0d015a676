"""A gRPC channel without a network: the client's calls answered by the services in the same process."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any, Never, Self

import grpc

from erp.settings import read_settings
from pricegrid import Client
from pricing_engine.model import ExceptionPolicy
from service.erp_fallback import open_erp
from service.errors import Reason, RequestRefusedError, refusal, trailing_metadata
from service.exchange import Answer, Caller
from service.handlers import correlation_id_of
from service.instants import now_us
from service.runtime import load_snapshot, version_opener
from service.services import Services, services
from service.snapshots import SnapshotHolder


class InProcessError(grpc.RpcError):
    """A refusal, with the status and metadata it would have over the wire."""

    def __init__(self, refused: RequestRefusedError, correlation_id: str) -> None:
        super().__init__(refused.message)
        self._refused = refused
        self._trailing = trailing_metadata(refused, correlation_id)

    def code(self) -> grpc.StatusCode:
        """The status code."""
        return self._refused.code

    def details(self) -> str:
        """The message."""
        return self._refused.message

    def trailing_metadata(self) -> Any:
        """The trailing metadata."""
        return self._trailing


class InProcessChannel(grpc.Channel):
    """Calls go to the methods of `services`, with or without the service-desk right."""

    def __init__(self, services: Services, *, service_desk: bool) -> None:
        self._service_desk = service_desk
        self._answers: dict[str, Answer] = {
            f"/{service}/{method}": answer
            for service, methods in services.items()
            for method, answer in methods.items()
        }

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """The call of one method."""
        assert request_serializer is not None  # noqa: S101 -- generated stubs always give both
        assert response_deserializer is not None  # noqa: S101
        answer = self._answers[method]

        def call(request: Any, timeout: float | None = None) -> Any:
            until_s = None if timeout is None else monotonic() + timeout
            caller = Caller(
                correlation_id_of(None),
                service_desk=self._service_desk,
                time_left=lambda: None if until_s is None else until_s - monotonic(),
            )
            try:
                return response_deserializer(answer(request_serializer(request), caller).raw)
            except Exception as error:
                refused = refusal(error)
                if refused.reason is Reason.INTERNAL_ERROR:
                    raise  # in one's own process an unexpected error is best seen whole
                raise InProcessError(refused, caller.correlation_id) from error

        return call

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def unary_stream(self, *_: Any, **__: Any) -> Never:
        """Not offered."""
        raise NotImplementedError

    def stream_unary(self, *_: Any, **__: Any) -> Never:
        """Not offered."""
        raise NotImplementedError

    def stream_stream(self, *_: Any, **__: Any) -> Never:
        """Not offered."""
        raise NotImplementedError

    def subscribe(self, *_: Any, **__: Any) -> None:
        """It is always connected."""

    def unsubscribe(self, *_: Any, **__: Any) -> None:
        """It is always connected."""


@contextlib.contextmanager
def store_client(store: Path, policy: ExceptionPolicy, erp_config: Path | None = None) -> Iterator[Client]:
    """A client that answers from the store itself, with the service-desk right (P11), and with an ERP where one is
    configured. Raises `SnapshotError` and `ErpConfigError`."""
    active = load_snapshot(store, None, policy)
    holder = SnapshotHolder(active, version_opener(store, policy, lambda _: False))
    with contextlib.ExitStack() as stack:
        erp = None
        if erp_config is not None:
            erp = open_erp(read_settings(erp_config), store, now_us, sample=False)
            stack.callback(erp.close)
        channel = InProcessChannel(services(holder, now_us, erp), service_desk=True)
        yield stack.enter_context(Client(channel=channel))
