"""The authentication of the HTTP/JSON adapter: a token, basic authentication, or a session with a login."""

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from pricegrid.erp.http_client import JsonClient
from pricegrid.erp.protocol import ErpBusyError, ErpConfigError, ErpUnavailableError, UnauthorisedError
from pricegrid.erp.settings import Secret, Section
from pricegrid.erp.templates import check_template, fill_body

LOGIN_PAUSE_S: Final = 5.0
"""The least time between two logins, so that an ERP that refuses every session does not get twice the calls."""
_KINDS: Final = ("none", "token", "basic", "session")


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """`[http_json.authentication]`."""

    kind: str = "none"
    header: str = "Authorization"
    """The header of a token."""
    prefix: str = "Bearer "
    user: str = ""
    secret: Secret | None = None
    """The token or the password."""
    path: str = ""
    """The path of a session's login, called by POST."""
    body: Mapping[str, Any] | None = None
    """The body of the login, with {user} and {password}."""

    @classmethod
    def read(cls, section: Section) -> "LoginSettings":
        """Reads the table; raises ErpConfigError."""
        kind = section.word("kind", _KINDS, "none")
        member = "token" if kind == "token" else "password"
        secret = section.secret(member) if kind != "none" else None
        if kind != "none" and secret is None:
            raise ErpConfigError(f"{section.name(member)}_env or {member}_file is missing")
        settings = cls(
            kind=kind,
            header=section.text("header", "Authorization"),
            prefix=section.prefix("prefix", "Bearer "),
            user=section.text("user") if kind in {"basic", "session"} else "",
            secret=secret,
            path=section.text("path") if kind == "session" else "",
            body=section.table("body") if kind == "session" else None,
        )
        check_template(section.name("body"), settings.body, ("user", "password"))
        section.done()
        return settings


class Login:
    """Authenticates calls by headers or by a session, whose cookie the client keeps."""

    def __init__(self, settings: LoginSettings, base_url: str, client: JsonClient) -> None:
        self._settings = settings
        self._base_url = base_url
        self._client = client
        self._lock = asyncio.Lock()
        self._sessions = 0
        self._login_at_s = float("-inf")

    async def call(self, method: str, url: str, body: object | None, deadline_s: float) -> Any:
        """As `JsonClient.call`, authenticated; an expired session is renewed once."""
        sessions = await self._session(0, deadline_s)
        try:
            return await self._client.call(
                method, url, deadline_s=deadline_s, body=body, headers=self._headers()
            )
        except UnauthorisedError:
            if self._settings.kind != "session":
                raise
            await self._session(sessions, deadline_s)
            return await self._client.call(method, url, deadline_s=deadline_s, body=body)

    def _headers(self) -> dict[str, str]:
        settings = self._settings
        secret = settings.secret.value if settings.secret else ""
        if settings.kind == "token":
            return {settings.header: settings.prefix + secret}
        if settings.kind == "basic":
            return {
                "Authorization": "Basic " + base64.b64encode(f"{settings.user}:{secret}".encode()).decode()
            }
        return {}

    async def _session(self, ended: int, deadline_s: float) -> int:
        """Opens a session unless there is one newer than `ended`; returns its number."""
        settings = self._settings
        if settings.kind != "session":
            return 0
        async with self._lock:
            if self._sessions > ended:
                return self._sessions
            if monotonic() - self._login_at_s < LOGIN_PAUSE_S:
                raise ErpUnavailableError("the session was refused just after a login")
            self._login_at_s = monotonic()
            password = settings.secret.value if settings.secret else ""
            body = fill_body(settings.body, {"user": settings.user, "password": password})
            url = self._base_url + settings.path
            try:
                await self._client.call("POST", url, deadline_s=deadline_s, body=body, may_be_empty=True)
            except (ErpUnavailableError, asyncio.CancelledError) as error:
                if not isinstance(error, ErpBusyError):  # not refused: let the next caller log in at once
                    self._login_at_s = float("-inf")
                raise
            self._sessions += 1
            return self._sessions
