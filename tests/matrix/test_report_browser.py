"""The HTML page in a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.matrix.sample_results import FAILED, NOT_RUN, hostile_results, sample_results

if TYPE_CHECKING:
    from tests.matrix.browser import Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

READABLE = 4.5
"""Contrast of text to what is behind it that WCAG 2 AA asks for."""
LOOKS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]
FAILED_ROW = "grpc-saas-30s"


def find_browser() -> tuple[str, str]:
    """The paths of browser and driver; without them or Selenium tests are skipped, in CI they fail."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is not None and driver is not None and find_spec("selenium") is not None:
        return browser, driver
    missing = (
        "needs Chromium with its driver, and Selenium: apt-get install chromium chromium-driver; pip install selenium"
    )
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    browser, driver = find_browser()
    from tests.matrix.browser import open_browser

    with open_browser(browser, driver, tmp_path_factory.mktemp("report")) as page:
        yield page


@pytest.fixture(autouse=True)
def nothing_asked_and_no_errors(page: Page) -> Iterator[None]:
    """Whatever a test does: the console stays empty, and nothing but the page itself is loaded."""
    page.look(*LOOKS[0])
    yield
    lines, asked = page.take_log()
    assert lines == []
    assert page.address in asked, "the log of requests lacks the page: it proves nothing"
    assert {url for url in asked if not url.startswith(("data:", "about:"))} == {page.address}


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_the_page_fits_and_every_cell_can_be_seen(page: Page, look: tuple[int, str]) -> None:
    results = sample_results()
    page.look(*look)
    page.show(results)
    assert page.overflows() == []
    cells = page.cells()
    assert sorted(cell["id"] for cell in cells) == sorted(row["id"] for row in results["rows"])
    assert len(cells) == 54
    assert [cell for cell in cells if not cell["visible"] or cell["height"] < 24 or cell["width"] < 60] == []
    marks = {"passed": "✓", "failed": "✗", "not run": "-"}
    assert {cell["id"]: cell["text"][0] for cell in cells} == {
        row["id"]: marks[row["outcome"]] for row in results["rows"]
    }


@pytest.mark.parametrize("look", LOOKS, ids=str)
@pytest.mark.parametrize("fragment", ["", f"#{FAILED_ROW}", "#prometheus", "#http_json-local_grpc-30s"])
def test_all_text_can_be_read(page: Page, look: tuple[int, str], fragment: str) -> None:
    page.look(*look)
    page.show(sample_results(0.1), fragment)
    if fragment:
        page.wait_opened(fragment[1:])
    page.run("for (const one of document.querySelectorAll('details')) one.open = true")
    count, unreadable = page.unreadable(READABLE)
    assert unreadable == []
    assert count > 5


@pytest.mark.parametrize(("look", "way"), [(LOOKS[0], "Enter"), (LOOKS[3], "click")], ids=str)
def test_every_cell_opens_and_shows_its_checks(page: Page, look: tuple[int, str], way: str) -> None:
    results = sample_results()
    rows = {row["id"]: row for row in results["rows"]}
    page.look(*look)
    page.show(results)
    for cell in page.find("a.cell"):
        name = cell.get_attribute("hash").removeprefix("#")
        if way == "click":
            cell.click()
        else:
            page.press("ENTER", on=cell)
        text = page.run("return arguments[0].innerText", page.wait_opened(name))
        assert [check["name"] for check in rows[name]["checks"] if check["name"] not in text] == []
        assert f'pytest matrix -k "{name}"' in text
        assert page.overflows() == []
        page.press("ESCAPE")
        page.wait_focused(cell)


def test_the_failed_rows_are_named_first_and_so_are_failed_checks(page: Page) -> None:
    page.show(sample_results())
    assert page.find("h1")[0].text.removeprefix("✗ ").startswith("4 failed, 2 not run")
    first = page.find("main a")[: len(FAILED) + len(NOT_RUN)]
    names = [one.get_attribute("hash").removeprefix("#") for one in first]
    assert set(names[: len(FAILED)]) == FAILED.keys()
    assert set(names[len(FAILED) :]) == NOT_RUN.keys()
    first[0].click()
    dialog = page.wait_opened(names[0])
    checks = dialog.find_elements("css selector", ".checks tbody tr")
    assert FAILED[names[0]][0] in checks[0].text
    assert checks[0].get_attribute("class") == "failed"


def test_what_differs_in_a_failed_check_is_marked(page: Page) -> None:
    page.show(sample_results(), f"#{FAILED_ROW}")
    marked = page.wait_opened(FAILED_ROW).find_elements("css selector", "mark")
    assert [one.text for one in marked] == ["16107", "32214"]


def test_a_deep_link_opens_its_cell_and_back_closes_it(page: Page) -> None:
    page.show(sample_results(), "#grpc-local_grpc-10s")
    page.wait_opened("grpc-local_grpc-10s").find_element("link text", "Close").click()
    page.wait_closed()
    page.find("a.cell")[0].click()
    page.wait_opened(page.find("a.cell")[0].get_attribute("hash").removeprefix("#"))
    page.driver.back()
    page.wait_closed()
    page.driver.forward()
    assert page.wait_opened("grpc-local_grpc-10s").is_displayed()


def test_the_plot_has_a_mark_an_export_and_failures_of_another_shape(page: Page) -> None:
    results = sample_results()
    row = next(row for row in results["rows"] if row["id"] == "http_json-remote_http-10s")
    page.show(results, f"#{row['id']}")
    marks = page.wait_opened(row["id"]).find_elements("css selector", ".plot use.taken, .plot use.lost")
    assert len(marks) == len(row["exports"])
    shapes = {mark.get_attribute("class"): mark.get_attribute("href") for mark in marks}
    assert shapes == {"taken": "#shape-taken", "lost": "#shape-lost"}
    drawn = [mark.rect for mark in marks]
    assert all(box["width"] > 0 and box["height"] > 0 for box in drawn)
    titles = page.run("return arguments[0].map(one => one.textContent)", marks)
    lost = next(export for export in row["exports"] if export["status"] == "503")
    assert f"metrics at {lost['at_s']:.2f} s: 503, 41 items, 5,120 bytes" in titles


def test_shortened_intervals_are_said(page: Page) -> None:
    page.show(sample_results(0.1))
    assert "Intervals were shortened to 0.1" in page.find("header")[0].text
    page.show(sample_results())
    assert "shortened" not in page.find("header")[0].text


@pytest.mark.parametrize("look", [LOOKS[0], LOOKS[2]], ids=str)
def test_hostile_text_runs_nothing_and_breaks_no_layout(page: Page, look: tuple[int, str]) -> None:
    page.look(*look)
    page.show(hostile_results(), f"#{FAILED_ROW}")
    page.wait_opened(FAILED_ROW)
    assert page.overflows() == []
    page.show(hostile_results())
    assert page.overflows() == []
    assert page.run("return typeof pwned") == "undefined"
    assert page.run("return document.querySelectorAll('dialog').length") == 54


def test_on_paper_nothing_is_lost(page: Page) -> None:
    page.show(sample_results())
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert all(cell["visible"] for cell in page.cells())
    assert page.driver.print_page()
