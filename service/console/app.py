"""The console as an application of aiohttp: who may reach it, as whom it asks, and how pages come about.

It decides nothing itself. A caller's bearer token goes to the server with each call, and the server's roles say what
is answered. A browser sends the token as a cookie that no script can read and no other site can send; a proxy that
has signed people in may send it as `authorization`.
"""

import asyncio
import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

import pricegrid
from pricegrid.loaders.errors import LoadError
from pricegrid.service.console.asked import Asked, FormError, Server
from pricegrid.service.console.freshness import refusal
from pricegrid.service.console.html import Node, tag
from pricegrid.service.console.layout import Frame, field, link, notice, page, post
from pricegrid.service.console.pages import ACTIONS, PAGES, Page

COOKIE: Final = "pricegrid_token"
SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
BODY_BYTES_MAX: Final = 64 * 1024
TOKEN_BYTES_MAX: Final = 3_800
"""A browser keeps no cookie of more than 4,096 bytes, its name and attributes included."""
HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "same-origin",  # with no-referrer, browsers would post forms as of no origin
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cache-Control": "no-store",
    }
)
_log = logging.getLogger(__name__)
_HERE: Final = Path(__file__).parent
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]+", re.ASCII)
_LOCAL: Final = frozenset({"localhost", "ip6-localhost"})
_STATUS: Final[Mapping[type[pricegrid.PricegridError], HTTPStatus]] = MappingProxyType(
    {
        pricegrid.InvalidRequestError: HTTPStatus.BAD_REQUEST,
        pricegrid.UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
        pricegrid.NotPermittedError: HTTPStatus.FORBIDDEN,
        pricegrid.CustomerNotAllowedError: HTTPStatus.FORBIDDEN,
        pricegrid.NotFoundError: HTTPStatus.NOT_FOUND,
        pricegrid.ConflictError: HTTPStatus.CONFLICT,
        pricegrid.UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
        pricegrid.DeadlineExceededError: HTTPStatus.GATEWAY_TIMEOUT,
    }
)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Console:
    """What a console is set up with."""

    server: Server
    about: str
    """Which server it asks, for people."""
    store: Path | None = None
    """The store that the server serves, where it is on this host: for finding, and for snapshots."""
    is_behind_proxy: bool = False
    """It may be reached under any name, and a proxy before it ends TLS."""

    @property
    def pages(self) -> tuple[Page, ...]:
        """The pages that can be answered."""
        return tuple(each for each in PAGES if self.store is not None or not each.needs_store)


def application(console: Console) -> web.Application:
    """The application; it takes no state of its own."""
    app = web.Application(middlewares=[_guard(console)], client_max_size=BODY_BYTES_MAX)
    for each in console.pages:
        app.router.add_get(each.path, _shown(console, each))
    for path, action in ACTIONS.items():
        if action.page in console.pages:
            app.router.add_post(path, _changed(console, action.page, action.run))
    app.router.add_get("/", _redirect(PAGES[0].path))
    app.router.add_get(SIGN_IN, _sign_in_page(console))
    app.router.add_post(SIGN_IN, _sign_in(console))
    app.router.add_post(SIGN_OUT, _sign_out)
    for name, kind in (("style.css", "text/css"), ("favicon.svg", "image/svg+xml")):
        app.router.add_get(f"/{name}", _static(name, kind))
    return app


def _guard(console: Console) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            refused = _refused(console, request)
            response = refused or await handler(request)
        except web.HTTPException as error:
            response = _page(
                console, request, error.status, error.reason, tag("p", f"{request.path}: {error.reason}")
            )
        response.headers.update(HEADERS)
        return response

    return guard


def _refused(console: Console, request: web.Request) -> web.Response | None:
    """A refusal of what another site makes a browser send."""
    if not console.is_behind_proxy and not _is_this_machine(request.host):
        text = "This console is reached as 127.0.0.1 or localhost alone."  # a foreign name could lead here
        return web.Response(status=HTTPStatus.MISDIRECTED_REQUEST, text=text)
    if request.method in {"GET", "HEAD"}:
        return None
    origin = urlsplit(request.headers.get("Origin", ""))
    if origin.netloc != request.host or request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        return web.Response(
            status=HTTPStatus.FORBIDDEN, text="Changes come from the console's own pages alone."
        )
    return None


def _is_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name in _LOCAL or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _token(request: web.Request) -> str | None:
    """The caller's token, of a proxy or of the cookie; None: there is none, or what is there is none."""
    kind, _, sent = request.headers.get("Authorization", "").partition(" ")
    found = sent.strip() if kind.lower() == "bearer" else request.cookies.get(COOKIE, "")
    return found if _TOKEN.fullmatch(found) else None


def _asked(console: Console, request: web.Request, fields: Mapping[str, object]) -> Asked:
    said = {name: value for name, value in fields.items() if isinstance(value, str)}
    return Asked(said, console.server, _token(request), console.store)


def _shown(console: Console, each: Page) -> Handler:
    async def shown(request: web.Request) -> web.Response:
        return await _answered(console, request, each, each.answer, _asked(console, request, request.query))

    return shown


def _changed(console: Console, each: Page, run: Callable[[Asked], Node]) -> Handler:
    async def changed(request: web.Request) -> web.Response:
        return await _answered(console, request, each, run, _asked(console, request, await request.post()))

    return changed


async def _answered(
    console: Console, request: web.Request, each: Page, run: Callable[[Asked], Node], asked: Asked
) -> web.Response:
    status, inside = await asyncio.to_thread(_outcome, run, asked)
    return _page(console, request, status, each.name, each.form(asked), inside, path=each.path)


def _outcome(run: Callable[[Asked], Node], asked: Asked) -> tuple[int, Node]:
    """What a page shows, or why it can't, with the status that says so."""
    try:
        return HTTPStatus.OK, run(asked)
    except FormError as error:
        return HTTPStatus.BAD_REQUEST, notice(str(error), kind="bad")
    except pricegrid.PricegridError as error:
        status = next(
            (code for kind, code in _STATUS.items() if isinstance(error, kind)), HTTPStatus.BAD_GATEWAY
        )
        wants_token = status is HTTPStatus.UNAUTHORIZED
        return status, [refusal(error), tag("p", link("Sign in", SIGN_IN)) if wants_token else None]
    except (LoadError, OSError) as error:
        return HTTPStatus.INTERNAL_SERVER_ERROR, notice(str(error), kind="bad")
    except Exception:  # noqa: BLE001 -- one page that fails must not look like a server that is down
        _log.exception("a page of the console failed")
        told = "The console failed to make this page; its log says why."
        return HTTPStatus.INTERNAL_SERVER_ERROR, notice(told, kind="bad")


def _page(
    console: Console, request: web.Request, status: int, title: str, *body: Node, path: str = ""
) -> web.Response:
    frame = Frame(
        title=title,
        path=path or request.path,
        navigation=[(each.path, each.name) for each in console.pages],
        about=console.about,
        signed_in=COOKIE in request.cookies,
    )
    return web.Response(status=status, text=page(frame, *body), content_type="text/html", charset="utf-8")


def _sign_in_page(console: Console, status: HTTPStatus = HTTPStatus.OK, *told: Node) -> Handler:
    async def shown(request: web.Request) -> web.Response:
        return _page(
            console,
            request,
            status,
            "Sign in",
            list(told),
            tag(
                "p",
                "The console asks the server as whoever your token names, and keeps the token in this browser.",
                class_="lead",
            ),
            post(
                SIGN_IN,
                field(
                    "Token",
                    "token",
                    "",
                    kind="password",
                    hint="a bearer token (JWT) of your organisation",
                    needed=True,
                    wide=True,
                ),
                tag("button", "Sign in", type="submit", class_="primary"),
            ),
        )

    return shown


def _sign_in(console: Console) -> Handler:
    async def signed_in(request: web.Request) -> web.StreamResponse:
        said = (await request.post()).get("token", "")
        token = said.strip() if isinstance(said, str) else ""
        if not _TOKEN.fullmatch(token) or len(token) > TOKEN_BYTES_MAX:
            why = f"Token: this is none, or it has more than {TOKEN_BYTES_MAX:,} characters"
            return await _sign_in_page(console, HTTPStatus.BAD_REQUEST, notice(why, kind="bad"))(request)
        answer = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": PAGES[0].path})
        answer.set_cookie(
            COOKIE, token, httponly=True, samesite="Strict", path="/", secure=console.is_behind_proxy
        )
        return answer

    return signed_in


async def _sign_out(_: web.Request) -> web.Response:
    answer = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": SIGN_IN})
    answer.del_cookie(COOKIE, path="/")
    return answer


def _redirect(path: str) -> Handler:
    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": path})

    return redirect


def _static(name: str, kind: str) -> Handler:
    content = (_HERE / name).read_bytes()

    async def served(_: web.Request) -> web.Response:
        return web.Response(body=content, content_type=kind, charset="utf-8")

    return served
