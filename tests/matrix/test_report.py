"""The reports of a matrix run, without a browser."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from matrix.report import summary, table, write_reports
from tests.matrix.sample_results import FAILED, HOSTILE, NOT_RUN, hostile_results, sample_results

pytestmark = pytest.mark.any_python

WIDTH, HEIGHT = 80, 50


class Elements(HTMLParser):
    """What a browser makes of a page: tags, attributes, and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def read_page(results: Mapping[str, Any], folder: Path) -> Elements:
    write_reports(results, folder)
    elements = Elements()
    elements.feed((folder / "report.html").read_text(encoding="utf-8"))
    return elements


def lines_of(rows: list[dict[str, Any]], width: int = WIDTH) -> list[str]:
    console = Console(width=width, height=HEIGHT, force_terminal=True, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(table(rows))
    return captured.get().splitlines()


def test_the_json_is_as_given(tmp_path: Path) -> None:
    results = hostile_results()
    write_reports(results, tmp_path / "new" / "results")
    assert json.loads((tmp_path / "new" / "results" / "results.json").read_text(encoding="utf-8")) == results


def test_a_number_that_json_lacks_is_refused(tmp_path: Path) -> None:
    results = sample_results() | {"seconds": float("nan")}
    with pytest.raises(ValueError, match=r"(?i)nan|JSON"):
        write_reports(results, tmp_path)


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    page = read_page(hostile_results(), tmp_path)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(HOSTILE) > 10


def test_what_is_no_text_can_still_be_seen(tmp_path: Path) -> None:
    results = sample_results()
    results["rows"][0] |= {"stderr": "\x1b[31mred\x00 \udc80", "outcome": "failed", "why": "\x1b[2J", "checks": []}
    page = read_page(results, tmp_path)
    assert "␛[31mred␀ \\udc80" in page.text
    assert "␛[2J" in page.text
    assert "\x1b" not in summary(results)
    assert "\x1b" not in "".join(lines_of(results["rows"]))


def test_the_page_names_nothing_outside_itself(tmp_path: Path) -> None:
    page = read_page(sample_results(), tmp_path)
    targets = {value for name, value in page.attributes if name in ("href", "src", "action", "data", "srcset")}
    assert {target for target in targets if not target.startswith("#")} == {"data:,"}
    assert not {"iframe", "object", "embed", "base"} & set(page.tags)


def test_each_row_has_a_cell_and_what_it_opens(tmp_path: Path) -> None:
    results = sample_results()
    page = read_page(results, tmp_path)
    ids = [row["id"] for row in results["rows"]]
    targets = [value.removeprefix("#") for name, value in page.attributes if name == "href"]
    assert len(ids) == 54
    assert [one for one in ids if one not in targets] == []
    assert page.tags.count("dialog") == 54
    names = [value for name, value in page.attributes if name == "id"]
    assert len(set(names)) == len(names)


def test_rows_of_which_little_is_known_are_shown(tmp_path: Path) -> None:
    rows = [
        {"id": "later", "group": "new group", "title": "to come"},
        {"id": "odd", "group": "otlp", "outcome": "lost"},
    ]
    results = sample_results() | {"rows": rows}
    page = read_page(results, tmp_path)
    assert "to come" in page.text
    assert ("class", "bad") in page.attributes
    assert any("later" in line for line in lines_of(rows))
    assert "1 lost" in summary(results)


def test_no_rows_are_no_fault(tmp_path: Path) -> None:
    results = sample_results() | {"rows": []}
    assert "0 of 0 passed" in read_page(results, tmp_path).text
    assert summary(results).startswith("0 of 0 passed")
    assert lines_of([]) is not None


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        (sample_results(all_passed=True), "54 of 54 passed in 131 s in real time"),
        (sample_results(), "4 failed, 2 not run, 48 of 54 passed in 131 s in real time"),
        (sample_results(0.1, all_passed=True), "54 of 54 passed in 13 s with intervals at 0.1 of their length"),
    ],
)
def test_the_outcome_is_one_sentence(results: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    assert summary(results).splitlines()[0] == sentence
    assert sentence in read_page(results, tmp_path).text


def test_the_summary_is_plain_and_names_each_fault_and_its_command() -> None:
    text = summary(sample_results())
    assert text.isascii()
    for name, (check, _, _) in FAILED.items():
        assert f"FAILED {name}:" in text
        assert f"  {check}: expected " in text
        assert f'pytest matrix -k "{name}"' in text
    for name, why in NOT_RUN.items():
        assert f"NOT RUN {name}:" in text
        assert why in text


def test_of_long_texts_the_summary_shows_where_they_differ() -> None:
    text = summary(sample_results())
    assert "claude_code.token.usage: expected ... type=output: 16107, seen ... type=output: 32214" in text


@pytest.mark.parametrize("outcome", ["waiting", "running", "passed", "failed", "not run"])
def test_the_54_fit_a_terminal(outcome: str) -> None:
    rows = [{**row, "outcome": outcome, "why": "x" * 300} for row in hostile_results()["rows"]]
    lines = lines_of(rows)
    assert len(lines) < HEIGHT
    assert max(map(len, lines)) <= WIDTH
    assert f"54 {outcome}" in lines[0]


def test_the_terminal_shows_each_row_once_and_each_failed_check() -> None:
    text = "\n".join(lines_of(sample_results()["rows"]))
    assert text.count("✗") == 1 + 2 * len(FAILED)
    assert text.count("✓") == 1 + 48
    for name, (check, _, _) in FAILED.items():
        assert f"✗ {name}  {check}" in text
    assert "seen ... type=output: 32214" in text


def test_markup_of_the_terminal_is_text() -> None:
    rows = [{**row, "id": "[red]x[/red]", "title": "[/]"} for row in sample_results()["rows"]]
    assert any("[red]x[/red]" in line for line in lines_of(rows))
