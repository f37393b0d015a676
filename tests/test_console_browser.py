"""The console in a real browser: each page is walked, by keyboard alone, in light and dark, and looked at by axe."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from pricegrid import Line
from pricegrid.service.console.app import application
from tests.browser import CHROMIUM, Browser, browser
from tests.console_world import EVIL, World, console_world

AXE = Path("tests/axe/node_modules/axe-core/axe.min.js")
PAGE_BYTES_MAX = 150 * 1024

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: the pages are not walked in a browser"),
]


@contextlib.contextmanager
def served(world: World) -> Iterator[str]:
    """The console on a port of its own."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(application(world.console), shutdown_timeout=0)

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner.addresses[0][1]

    port = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def paths(world: World) -> list[str]:
    letter = world.client.dead_letters()[0].dead_letter_id
    return [
        "/price?customer=C1&sku=S3&quantity=4",
        "/price?sku=S1&quantity=much",
        "/timeline?customer=C1&sku=S3&from=2026-06-01&to=2026-08-01",
        "/availability?sku=S4&quantity=12&as_of=2026-03-02T10:00:00Z",
        "/find",
        "/freshness",
        "/reservations",
        "/parity",
        "/dead-letters",
        f"/dead-letters?id={letter}",
        f"/snapshots?old={world.versions[0]}",
        f"/snapshots?activate={world.versions[0]}",
        "/sign-in",
    ]


async def walk(
    world: World, base: str, folder: Path, look: Callable[[Browser, str], Awaitable[None]]
) -> None:
    """Opens each page in light and in dark, and has it looked at."""
    async with browser(folder) as tab:
        for scheme in ("light", "dark"):
            await tab.scheme(scheme)
            for path in paths(world):
                await tab.open(base + path)
                await look(tab, f"{path} in {scheme}")
        said = [each for each in tab.complaints if "400 (Bad Request)" not in each]
        assert said == []


async def is_whole(tab: Browser, where: str) -> None:
    assert await tab.text("h1"), where
    assert await tab.value("document.documentElement.outerHTML.length") < PAGE_BYTES_MAX, where
    assert await tab.value("document.scripts.length") == 0, where
    shown = "getComputedStyle(document.querySelector('header')).borderBottomStyle"
    assert await tab.value(shown) == "solid", f"{where} has no style"


async def by_keyboard(world: World, base: str, tab: Browser) -> None:
    """From the top of the page: past the navigation, through the form, to the answer."""
    await tab.open(base + "/price")
    await tab.press("Tab")
    assert await tab.value("document.activeElement.innerText") == "Skip to content"
    await tab.press("Enter")
    for typed in ("C1", EVIL, "4"):
        await tab.press("Tab")
        assert await tab.value("document.activeElement.tagName") == "INPUT"
        assert await tab.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        await tab.write(typed)
    await tab.press("Enter")
    await tab.loaded()
    found = world.client.explain_price("C1", Line(EVIL, 4)).line
    assert (
        await tab.text(".answer")
        == f"{found.unit_price:.2f} EUR a unit · {found.extended_price:.2f} EUR for 4"
    )
    assert await tab.value("document.getElementById('sku').value") == EVIL


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with console_world(tmp_path_factory.mktemp("console")) as world, served(world) as base:
        yield world, base


def test_each_page_is_whole_and_the_browser_has_no_complaint(site, tmp_path):
    world, base = site
    asyncio.run(walk(world, base, tmp_path, is_whole))


def test_a_price_is_asked_for_by_keyboard_alone(site, tmp_path):
    world, base = site

    async def ask() -> None:
        async with browser(tmp_path) as tab:
            await by_keyboard(world, base, tab)

    asyncio.run(ask())


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: `make axe` installs it")
def test_nothing_keeps_people_from_using_a_page(site, tmp_path):
    world, base = site
    axe = AXE.read_text(encoding="utf-8")

    async def look(tab: Browser, where: str) -> None:
        await tab.value(f"{axe};0")
        found = await tab.value(
            "axe.run().then(found => found.violations.map(each => [each.id, each.nodes[0].html]))"
        )
        assert found == [], where

    asyncio.run(walk(world, base, tmp_path, look))
