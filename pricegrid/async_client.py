"""The client for asyncio: prices, availability and reservations. Events and watching are the synchronous client's.

```python
async with pricegrid.AsyncClient("127.0.0.1:50051") as client:
    quote = await client.quote_lines("C-100", [pricegrid.Line("SKU-1", 12)])
```
"""

import os
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal, Self

import grpc

from pricegrid import v1
from pricegrid.availability import (
    AvailabilityResult,
    PromiseResult,
    QuoteResult,
    availability_result,
    promise_result,
    quote_result,
)
from pricegrid.client import (
    RECEIVE_BYTES_MAX,
    RETRIED,
    SERVICE_CONFIG,
    check_transport,
    explanation,
    needs_ngh2,
)
from pricegrid.credentials import Token, speaks_tls, token_of
from pricegrid.errors import error_from_rpc
from pricegrid.live_client import TIMEOUT_S
from pricegrid.requests import (
    Line,
    PromisePolicy,
    SupplyPolicy,
    availability_request,
    explain_request,
    price_request,
    promise_request,
    quote_request,
)
from pricegrid.reservations import (
    Release,
    Reservation,
    ReserveLine,
    ReserveResult,
    extend_message,
    release_message,
    reservation,
    reserve_message,
    reserve_result,
)
from pricegrid.results import Explanation, PriceResult, price_result


class AsyncClient:
    """A connection to a Pricegrid server at `address`, "host:port" or "unix:/path", for the tasks of one event loop.

    Settings, arguments, results and errors are those of `Client`. A function for `token` is called on the loop: it must
    not wait.
    """

    def __init__(
        self,
        address: str,
        *,
        token: Token | None = None,
        token_file: str | os.PathLike[str] | None = None,
        root_certificates: bytes | None = None,
        client_certificate: tuple[bytes, bytes] | None = None,
        use_tls: bool | None = None,
        transport: Literal["grpcio", "http2"] = "grpcio",
    ) -> None:
        said = token_of(token, token_file)
        check_transport(transport)
        is_secure = speaks_tls(address, said, root_certificates, client_certificate, use_tls=use_tls)
        open_it = _http2 if transport == "http2" else _grpcio
        self._channel = open_it(address, root_certificates, client_certificate, is_secure=is_secure)
        self._token = said if callable(said) or said is None else lambda: said
        self._prices = v1.PricingServiceStub(self._channel)
        self._quotes = v1.QuoteServiceStub(self._channel)
        self._availability = v1.AvailabilityServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connections; calls under way fail with `PricegridError`."""
        await self._channel.close()

    async def _ask(self, call: Any, request: Any, timeout_s: float) -> Any:
        metadata = None if self._token is None else (("authorization", f"Bearer {self._token()}"),)
        try:
            return await call(request, timeout=timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error

    async def price_lines(
        self,
        customer_id: str,
        lines: Sequence[Line],
        *,
        currency: str | None = None,
        branch: str | None = None,
        as_of: date | datetime | None = None,
        snapshot_version: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> PriceResult:
        """As `Client.price_lines`."""
        request = price_request(
            customer_id,
            lines,
            currency=currency,
            branch=branch,
            as_of=as_of,
            snapshot_version=snapshot_version,
        )
        return price_result(await self._ask(self._prices.PriceLines, request, timeout_s))

    async def explain_price(
        self,
        customer_id: str,
        line: Line,
        *,
        currency: str | None = None,
        branch: str | None = None,
        as_of: date | datetime | None = None,
        snapshot_version: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Explanation:
        """As `Client.explain_price`."""
        request = explain_request(
            customer_id,
            line,
            currency=currency,
            branch=branch,
            as_of=as_of,
            snapshot_version=snapshot_version,
        )
        return explanation(await self._ask(self._prices.ExplainPrice, request, timeout_s))

    async def quote_lines(
        self,
        customer_id: str,
        lines: Sequence[Line],
        *,
        currency: str | None = None,
        branches: Sequence[str] = (),
        as_of: date | datetime | None = None,
        snapshot_version: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> QuoteResult:
        """As `Client.quote_lines`."""
        request = quote_request(
            customer_id,
            lines,
            currency=currency,
            branches=branches,
            as_of=as_of,
            snapshot_version=snapshot_version,
        )
        return quote_result(await self._ask(self._quotes.QuoteLines, request, timeout_s))

    async def check_availability(
        self,
        lines: Sequence[Line],
        *,
        customer_id: str = "",
        branches: Sequence[str] = (),
        as_of: date | datetime | None = None,
        supply: SupplyPolicy | None = None,
        projected: bool = False,
        explain: bool = False,
        exclude_reservation: str = "",
        snapshot_version: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> AvailabilityResult:
        """As `Client.check_availability`."""
        request = availability_request(
            customer_id,
            lines,
            branches=branches,
            as_of=as_of,
            supply=supply,
            projected=projected,
            explain=explain,
            exclude_reservation=exclude_reservation,
            snapshot_version=snapshot_version,
        )
        return availability_result(await self._ask(self._availability.CheckAvailability, request, timeout_s))

    async def promise_order(
        self,
        lines: Sequence[Line],
        *,
        customer_id: str = "",
        branches: Sequence[str] = (),
        ship_to: str = "",
        as_of: date | datetime | None = None,
        supply: SupplyPolicy | None = None,
        policy: PromisePolicy | None = None,
        explain: bool = False,
        exclude_reservation: str = "",
        snapshot_version: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> PromiseResult:
        """As `Client.promise_order`."""
        request = promise_request(
            customer_id,
            lines,
            branches=branches,
            ship_to=ship_to,
            as_of=as_of,
            supply=supply,
            policy=policy,
            explain=explain,
            exclude_reservation=exclude_reservation,
            snapshot_version=snapshot_version,
        )
        return promise_result(await self._ask(self._availability.PromiseOrder, request, timeout_s))

    async def reserve(
        self,
        lines: Sequence[ReserveLine],
        *,
        key: str,
        customer_id: str = "",
        ttl: timedelta | None = None,
        allow_partial: bool = False,
        all_or_nothing: bool = False,
        order_ref: str = "",
        exclude_reservation: str = "",
        replace_reservation: str = "",
        timeout_s: float = TIMEOUT_S,
    ) -> ReserveResult:
        """As `Client.reserve`."""
        request = reserve_message(
            customer_id,
            key,
            lines,
            ttl=ttl,
            allow_partial=allow_partial,
            all_or_nothing=all_or_nothing,
            order_ref=order_ref,
            exclude_reservation=exclude_reservation,
            replace_reservation=replace_reservation,
        )
        return reserve_result(await self._ask(self._availability.Reserve, request, timeout_s))

    async def confirm_reservation(
        self,
        reservation_id: str,
        order_ref: str,
        *,
        customer_id: str = "",
        order_lines: Sequence[str] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> Reservation:
        """As `Client.confirm_reservation`."""
        request = v1.ConfirmReservationRequest(
            customer_id=customer_id,
            reservation_id=reservation_id,
            order_ref=order_ref,
            order_lines=order_lines,
        )
        answer = await self._ask(self._availability.ConfirmReservation, request, timeout_s)
        return reservation(answer.reservation)

    async def release_reservation(
        self,
        reservation_id: str,
        *,
        customer_id: str = "",
        parts: Sequence[Release] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> Reservation:
        """As `Client.release_reservation`."""
        request = release_message(customer_id, reservation_id, parts)
        answer = await self._ask(self._availability.ReleaseReservation, request, timeout_s)
        return reservation(answer.reservation)

    async def extend_reservation(
        self,
        reservation_id: str,
        *,
        customer_id: str = "",
        ttl: timedelta | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Reservation:
        """As `Client.extend_reservation`."""
        request = extend_message(customer_id, reservation_id, ttl)
        answer = await self._ask(self._availability.ExtendReservation, request, timeout_s)
        return reservation(answer.reservation)

    async def reservation(
        self, reservation_id: str, *, customer_id: str = "", timeout_s: float = TIMEOUT_S
    ) -> Reservation:
        """As `Client.reservation`."""
        request = v1.GetReservationRequest(customer_id=customer_id, reservation_id=reservation_id)
        answer = await self._ask(self._availability.GetReservation, request, timeout_s)
        return reservation(answer.reservation)


def _grpcio(
    address: str,
    root_certificates: bytes | None,
    client_certificate: tuple[bytes, bytes] | None,
    *,
    is_secure: bool,
) -> Any:
    options = [
        ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
        ("grpc.service_config", SERVICE_CONFIG),
    ]
    if not is_secure:
        return grpc.aio.insecure_channel(address, options=options)
    chain, key = client_certificate or (None, None)
    credentials = grpc.ssl_channel_credentials(root_certificates, key, chain)
    return grpc.aio.secure_channel(address, credentials, options=options)


def _http2(
    address: str,
    root_certificates: bytes | None,
    client_certificate: tuple[bytes, bytes] | None,
    *,
    is_secure: bool,
) -> Any:
    with needs_ngh2():
        from pricegrid.http2_async import AsyncHttp2Channel
        from pricegrid.http2_calls import client_context
    context = client_context(root_certificates, client_certificate) if is_secure else None
    return AsyncHttp2Channel(address, retried=RETRIED, receive_bytes_max=RECEIVE_BYTES_MAX, context=context)
