"""Tryton's JSON-RPC: sessions and their renewal, and the encoding of dates and decimals.

A call is a POST of `{"id", "method", "params"}` to `/<database>/rpc/`; the last parameter of a model's method is the
context. Dates and decimals are encoded as `{"__class__": ...}`.
"""

import asyncio
import base64
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from time import monotonic
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from pricegrid.erp.http_client import JsonClient
from pricegrid.erp.protocol import (
    ErpAnswerError,
    ErpBusyError,
    ErpConfigError,
    ErpRefusedError,
    ErpUnavailableError,
    Refusal,
    UnauthorisedError,
)
from pricegrid.erp.settings import Secret, Section

LOGIN_PAUSE_S: Final = 5.0
"""The least time between two logins, so that an ERP that refuses every session does not get twice the calls."""

Context = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class TrytonSettings:
    """`[tryton]`."""

    url: str
    """The URL of the server, without the database."""
    database: str
    user: str
    password: Secret
    time_zone: ZoneInfo
    """Of the company's business dates; Tryton itself uses its company's zone, UTC if it has none."""
    uom: str = "symbol"
    """The field with the name of a unit in datasets: `symbol` or `name`."""
    names_ttl_s: int = 300
    """How long the ids of items, units and currencies are cached."""
    batch_lines_max: int = 100
    stock_days: int = 90
    """How many days ahead open moves are read."""
    ca_file: str | None = None

    @classmethod
    def read(cls, section: Section) -> "TrytonSettings":
        """Reads the table; raises ErpConfigError."""
        url = section.text("url").rstrip("/")
        if not url.startswith(("http://", "https://")):
            raise ErpConfigError(f"{section.name('url')} is {url!r}; it must begin with http:// or https://")
        password = section.secret("password")
        if password is None:
            raise ErpConfigError(f"{section.name('password')}_env or password_file is missing")
        settings = cls(
            url=url,
            database=section.text("database"),
            user=section.text("user"),
            password=password,
            time_zone=section.zone("time_zone"),
            uom=section.word("uom", ("symbol", "name"), "symbol"),
            names_ttl_s=section.integer("names_ttl_s", 300),
            batch_lines_max=section.integer("batch_lines_max", 100, low=1, high=1000),
            stock_days=section.integer("stock_days", 90, low=1, high=730),
            ca_file=section.optional("ca_file"),
        )
        section.done()
        return settings


class TrytonRpc:
    """Calls the methods of one database, logged in."""

    def __init__(self, settings: TrytonSettings, client: JsonClient) -> None:
        self._settings = settings
        self._client = client
        self._url = f"{settings.url}/{quote(settings.database, safe='')}/rpc/"
        self._ids = itertools.count(1)
        self._authorization: str | None = None
        self._context: dict[str, object] = {}
        self._login = asyncio.Lock()
        self._login_at_s = float("-inf")

    async def model(
        self, deadline_s: float, model: str, method: str, *params: object, context: Context | None = None
    ) -> Any:
        """Calls a method of a model; an expired session is renewed once. Raises `ErpError`."""
        for last in (False, True):
            authorization = self._authorization or await self._log_in(None, deadline_s)
            try:
                return await self._call(
                    deadline_s,
                    authorization,
                    f"model.{model}.{method}",
                    [*params, {**self._context, **(context or {})}],
                )
            except UnauthorisedError:
                if last:
                    raise
                await self._log_in(authorization, deadline_s)
        raise AssertionError("the second time returns or raises")

    async def rows(
        self,
        deadline_s: float,
        model: str,
        domain: Sequence[object],
        fields: Sequence[str],
        *,
        context: Context | None = None,
        page: int = 1000,
    ) -> list[dict[str, Any]]:
        """All records of a model in a domain, by id, read page by page."""
        found: list[dict[str, Any]] = []
        while True:
            rows = await self.model(
                deadline_s,
                model,
                "search_read",
                domain,
                len(found),
                page,
                [["id", "ASC"]],
                fields,
                context=context,
            )
            found += records(rows)
            if len(rows) < page:
                return found

    @property
    def company(self) -> object:
        """The id of the user's company."""
        return self._context.get("company")

    async def _log_in(self, ended: str | None, deadline_s: float) -> str:
        async with self._login:
            if self._authorization and self._authorization != ended:
                return self._authorization  # another call has logged in meanwhile
            if monotonic() - self._login_at_s < LOGIN_PAUSE_S:
                raise ErpUnavailableError("the session was refused just after a login")
            self._login_at_s = monotonic()
            try:
                return await self._new_session(deadline_s)
            except (ErpUnavailableError, asyncio.CancelledError) as error:
                if not isinstance(error, ErpBusyError):  # not refused: let the next caller log in at once
                    self._login_at_s = float("-inf")
                raise

    async def _new_session(self, deadline_s: float) -> str:
        settings = self._settings
        answer = await self._call(
            deadline_s,
            None,
            "common.db.login",
            [settings.user, {"password": settings.password.value}],
        )
        if not isinstance(answer, list) or len(answer) < 2:
            raise ErpRefusedError(f"Tryton refuses the login of {settings.user}")
        session = f"{settings.user}:{answer[0]}:{answer[1]}".encode()
        authorization = "Session " + base64.b64encode(session).decode()
        context = await self._call(deadline_s, authorization, "model.res.user.get_preferences", [True, {}])
        if not isinstance(context, dict) or context.get("company") is None:
            raise ErpRefusedError(f"the user {settings.user} has no company")
        self._context = {key: context[key] for key in ("company", "companies", "language") if key in context}
        self._authorization = authorization
        return authorization

    async def _call(
        self, deadline_s: float, authorization: str | None, method: str, params: list[object]
    ) -> Any:
        number = next(self._ids)
        answer = await self._client.call(
            "POST",
            self._url,
            deadline_s=deadline_s,
            body={"id": number, "method": method, "params": params},
            headers={"Authorization": authorization} if authorization else None,
        )
        if isinstance(answer, dict) and {"id", "result", "error"} & answer.keys():
            if error := answer.get("error"):
                raise ErpRefusedError(f"Tryton: {_error_text(error)}")
            answer = answer.get("result")
        return decode_value(answer)


def records(rows: object) -> list[dict[str, Any]]:
    """Checks that Tryton's answer is a list of records; raises ErpAnswerError otherwise."""
    if not isinstance(rows, list) or not all(
        isinstance(r, dict) and isinstance(r.get("id"), int) for r in rows
    ):
        raise ErpAnswerError(Refusal.SCHEMA, "Tryton's answer is not a list of records", repr(rows)[:2000])
    return rows


def encode_date(day: date) -> dict[str, object]:
    """Encodes a date for Tryton."""
    return {"__class__": "date", "year": day.year, "month": day.month, "day": day.day}


def decode_value(value: Any) -> Any:
    """Decodes the dates and decimals in a value, recursively; raises ErpAnswerError."""
    if isinstance(value, list):
        return [decode_value(each) for each in value]
    if not isinstance(value, dict):
        return value
    try:
        match value.get("__class__"):
            case None:
                return {key: decode_value(each) for key, each in value.items()}
            case "Decimal":
                return Decimal(value["decimal"])
            case "date":
                return date(value["year"], value["month"], value["day"])
            case _:
                return value
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise ErpAnswerError(
            Refusal.SCHEMA, f"Tryton's value can't be decoded: {error!r}", repr(value)
        ) from None


def _error_text(error: object) -> str:
    return str(error)[:300]
