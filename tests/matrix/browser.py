"""The HTML page in Debian's Chromium: without a window, without a network, driven by Selenium."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from matrix.report import write_reports

__all__ = ["Page", "open_browser"]

WAIT_S = 20.0
POLL_S = 0.01
FLAGS = (
    "--headless=new",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",  # it asks nobody for anything
    "--no-proxy-server",
)

# All that is drawn outside the window, or cut off by a box that doesn't scroll.
OVERFLOWS = """
const root = document.querySelector('dialog[open]') || document.body, wide = document.documentElement.clientWidth;
return [...root.querySelectorAll('*'), root]
  .filter(one => one.checkVisibility() && !one.closest('.hidden, svg, summary'))
  .filter(one => { const box = one.getBoundingClientRect();
    return box.right > wide + 0.5 || box.left < -0.5 || one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0
      && getComputedStyle(one).display != 'inline'; })
  .map(one => `${one.tagName}.${one.className} ${one.scrollWidth}/${one.clientWidth} ${one.textContent.slice(0, 60)}`);
"""
CELLS = """
return [...document.querySelectorAll('a.cell')].map(one => ({ id: one.hash.slice(1), text: one.innerText.trim(),
  visible: one.checkVisibility(), width: one.offsetWidth, height: one.offsetHeight }));
"""
FOCUSED = "return !document.querySelector('dialog[open]') && document.activeElement === arguments[0]"
# Text with too little contrast: each element that has text of its own, and the first opaque colour behind it.
UNREADABLE = """
const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
const light = colour => { const [r, g, b] = numbers(colour).map(v => v / 255)
  .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = one => { for (; one; one = one.parentElement) { const colour = getComputedStyle(one).backgroundColor;
  if ((numbers(colour)[3] ?? 1) === 1) return colour; } return 'rgb(255, 255, 255)'; };
const root = document.querySelector('dialog[open]') || document.body, least = arguments[0];
const own = one => [...one.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
const seen = [...root.querySelectorAll('*')].filter(one => one.checkVisibility() && own(one) && !one.closest('title'));
const ratio = one => { const style = getComputedStyle(one), front = one.closest('svg') ? style.fill : style.color;
  const [dark, bright] = [light(front), light(behind(one))].sort((a, b) => a - b);
  return (bright + 0.05) / (dark + 0.05); };
return [seen.length, seen.filter(one => ratio(one) < least)
  .map(one => `${one.tagName}.${one.className} ${ratio(one).toFixed(2)} ${one.textContent.slice(0, 60)}`)];
"""


class Page:
    """The browser with the report of a run."""

    def __init__(self, driver: webdriver.Chrome, folder: Path) -> None:
        self.driver = driver
        self.folder = folder
        self.address = (folder / "report.html").as_uri()

    def look(self, width: int, scheme: str) -> None:
        """Be so many pixels wide, and prefer ``light`` or ``dark``."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def show(self, results: Mapping[str, Any], fragment: str = "") -> None:
        write_reports(results, self.folder)
        self.driver.get("about:blank")
        self.driver.get(self.address + fragment)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script in the page returns."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements("css selector", selector)

    def cells(self) -> list[dict[str, Any]]:
        """What can be seen of each cell: ``id``, ``text``, ``visible``, ``width``, ``height``."""
        return self.run(CELLS)

    def overflows(self) -> list[str]:
        """What is not to be seen without sideways scrolling, in the open dialog or else on the page."""
        return self.run(OVERFLOWS)

    def unreadable(self, least: float) -> tuple[int, list[str]]:
        """How many elements have text, and which of them have too little contrast; in the open dialog or the page."""
        return self.run(UNREADABLE, least)

    def press(self, key: str, on: WebElement | None = None) -> None:
        """Press ``ENTER`` or ``ESCAPE``, where the keyboard is or on an element."""
        (on or self.driver.switch_to.active_element).send_keys(getattr(Keys, key))

    def take_log(self) -> tuple[list[str], set[str]]:
        """The lines of the console, and the addresses that were asked for, since the last time."""
        lines = [entry["message"] for entry in self.driver.get_log("browser")]
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
        return lines, {url.partition("#")[0] for url in asked}

    def wait_opened(self, name: str) -> WebElement:
        find = "return document.querySelector(`dialog[open][id='${arguments[0]}']`)"
        return WebDriverWait(self.driver, WAIT_S, POLL_S).until(
            lambda driver: driver.execute_script(find, name), f"{name} did not open"
        )

    def wait_closed(self) -> None:
        WebDriverWait(self.driver, WAIT_S, POLL_S).until_not(lambda _: self.find("dialog[open]"), "it did not close")

    def wait_focused(self, cell: WebElement) -> None:
        """Wait until all is closed and the keyboard is where it was."""
        WebDriverWait(self.driver, WAIT_S, POLL_S).until(
            lambda driver: driver.execute_script(FOCUSED, cell), "the keyboard lost its place"
        )


@contextmanager
def open_browser(browser: str, driver: str, folder: Path) -> Iterator[Page]:
    """A browser that shows reports written to ``folder``; ``browser`` and ``driver`` are paths."""
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in FLAGS:
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # root can't have one
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=Service(driver)) as chrome:
        yield Page(chrome, folder)
