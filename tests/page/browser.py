"""Chromium, headless, by the WebDriver protocol (https://www.w3.org/TR/webdriver2/), with Python's standard library.

Needs `chromium` and `chromedriver`, in Debian the packages chromium and chromium-driver.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from typing import Any

#: Much longer than anything takes that is waited for, in seconds.
PATIENCE = 60
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Browser:
    """One window. Everything ends with the block."""

    def __init__(self, scripts: bool = True) -> None:
        for program in ("chromium", "chromedriver"):
            if shutil.which(program) is None:
                raise SystemExit(f"{program} is missing: apt-get install chromium chromium-driver")
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            if "started successfully on port " in line:
                self._url = f"http://127.0.0.1:{line.rsplit(' ', 1)[1].strip().rstrip('.')}"
                break
        else:
            raise RuntimeError("chromedriver did not start")
        threading.Thread(target=self._driver.stdout.read, daemon=True).start()
        options: dict[str, Any] = {"args": [*FLAGS, f"--user-data-dir={self._profile}"]}
        if not scripts:
            options["prefs"] = {"profile.managed_default_content_settings.javascript": 2}
        capabilities = {
            "browserName": "chrome",
            "acceptInsecureCerts": True,
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self._session = ""
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self._session = f"/session/{made['sessionId']}"

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._ask("DELETE", "", None)
        finally:
            self._driver.terminate()
            self._driver.wait()
            if self._driver.stdout is not None:
                self._driver.stdout.close()
            shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, url: str) -> None:
        """Loads a page."""
        self._ask("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Runs JavaScript in the page, apart from its Content-Security-Policy, and gives what it returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str) -> str:
        """What a person reads in the first element that fits; nothing, where none does."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def wait(self, script: str, *arguments: Any) -> Any:
        """Waits until JavaScript returns something true, and gives that."""
        deadline = time.monotonic() + PATIENCE
        while not (result := self.run(script, *arguments)):
            if time.monotonic() > deadline:
                raise AssertionError(f"it never came: {script} {arguments}\n{self.text('body')}")
            time.sleep(0.05)  # The protocol has no way to be told: look again.
        return result

    def wait_text(self, selector: str, expected: str) -> None:
        """Waits until an element has a text."""
        self.wait("return document.querySelector(arguments[0])?.innerText.includes(arguments[1])", selector, expected)

    def click(self, selector: str) -> None:
        """Clicks on an element, as a person does."""
        self._ask("POST", f"/element/{self._find(selector)}/click", {})

    def submit(self, selector: str, text: str) -> None:
        """Writes into a field and ends with the return key."""
        self._ask("POST", f"/element/{self._find(selector)}/value", {"text": text + "\ue007"})

    def resize(self, width: int, height: int, dark: bool = False, mobile: bool = False) -> None:
        """Gives the page a size in CSS pixels, smaller than a window can be, and a colour scheme."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self._devtools("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", {"features": [scheme]})

    def screenshot(self, path: str) -> None:
        """Writes the whole page as PNG."""
        shot = self._devtools("Page.captureScreenshot", {"captureBeyondViewport": True})
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """What the browser has complained of since this was asked last, such as a breach of the policy."""
        entries = self._ask("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def _find(self, selector: str) -> str:
        found: dict[str, str] = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        return next(iter(found.values()))

    def _devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _ask(self, method: str, path: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._url + self._session + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.read().decode(errors='replace')[:500]}") from None
