"""A real browser for tests: headless Chromium, driven over its debugging protocol."""

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DEADLINE_S = 120
KEYS = {"Tab": (9, ""), "Enter": (13, "\r")}


class Browser:
    """One tab; `complaints` are what its console and log said."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._sent = 0
        self._events: list[str] = []
        self.complaints: list[str] = []

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command of the protocol, and waits for its answer."""
        self._sent += 1
        number = self._sent
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while (message := await self._message()).get("id") != number:
            pass
        assert "error" not in message, message
        return message["result"]

    async def open(self, url: str) -> None:
        """Goes to a page, and waits until it is loaded."""
        self._events.clear()
        await self.command("Page.navigate", url=url)
        await self.loaded()

    async def loaded(self) -> None:
        """Waits until the page that is on its way is loaded."""
        while "Page.loadEventFired" not in self._events:
            await self._message()
        self._events.clear()

    async def value(self, expression: str) -> Any:
        """What an expression of JavaScript comes to; a promise is awaited."""
        found = await self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def text(self, selector: str) -> str:
        """The text that is seen of an element."""
        return await self.value(f"document.querySelector({json.dumps(selector)}).innerText")

    async def press(self, key: str) -> None:
        """Presses a key."""
        code, typed = KEYS[key]
        said = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self.command(
            "Input.dispatchKeyEvent", type="keyDown" if typed else "rawKeyDown", text=typed, **said
        )
        await self.command("Input.dispatchKeyEvent", type="keyUp", **said)

    async def write(self, text: str) -> None:
        """Types a text where the focus is."""
        await self.command("Input.insertText", text=text)

    async def scheme(self, name: str) -> None:
        """Prefers `light` or `dark`."""
        await self.command(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}]
        )

    async def picture(self, path: Path, height: int) -> None:
        """Writes a picture of the upper part of the page."""
        await self.command(
            "Emulation.setDeviceMetricsOverride", width=1200, height=height, deviceScaleFactor=1, mobile=False
        )
        shot = await self.command("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(shot["data"]))

    async def _message(self) -> dict[str, Any]:
        message = json.loads(await asyncio.wait_for(self._socket.receive_str(), DEADLINE_S))
        method = message.get("method", "")
        self._events.append(method)
        if method == "Log.entryAdded" and message["params"]["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(message["params"]["entry"]["text"])
        elif method in {"Runtime.exceptionThrown", "Runtime.consoleAPICalled"}:
            self.complaints.append(json.dumps(message["params"]))
        return message


@contextlib.asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Browser]:
    """A browser with nothing in its profile, which is kept in `folder`."""
    assert CHROMIUM is not None
    profile = folder / "profile"
    port_file = profile / "DevToolsActivePort"
    process = subprocess.Popen(  # noqa: ASYNC220 -- it is started, not waited for
        [
            *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--no-first-run", "--no-default-browser-check", "--disable-background-networking"),
            *(
                f"--user-data-dir={profile}",
                "--remote-debugging-port=0",
                "--window-size=1200,900",
                "about:blank",
            ),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not (port_file.exists() and len(port_file.read_text().splitlines()) == 2):
                assert process.poll() is None, "the browser ended"
                await asyncio.sleep(0.05)
        port = port_file.read_text().splitlines()[0]
        async with aiohttp.ClientSession() as session:
            async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as response:
                address = (await response.json(content_type=None))["webSocketDebuggerUrl"]
            async with session.ws_connect(address, max_msg_size=0) as socket:
                found = Browser(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await found.command(f"{domain}.enable")
                await found.command("Emulation.setScrollbarsHidden", hidden=True)
                yield found
    finally:
        process.kill()
        process.wait()
