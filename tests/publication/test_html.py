"""One file that needs nothing else: pictures inside, foreign text shown as text."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hand_made_results import failed, finished

from esft_lightning.__main__ import main
from esft_lightning.publication.html import html_page, write_html

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_a_comparison_becomes_one_page_that_loads_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = [
        finished("law", "base", score=10, general=50),
        finished("law", "ESFTToken", score=44, general=48),
        failed("law", "LoRA", error="ValueError: <script>alert(1)</script>"),
    ]
    for result in results:
        (tmp_path / result.spec.folder).mkdir(parents=True)
        result.save(tmp_path / result.spec.folder)
    assert main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip().endswith("report.html")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert not page.all("script")
    assert not page.all("link")
    pictures = [attributes["src"] for attributes in page.all("img")]
    assert len(pictures) == 2
    assert all(source and source.startswith("data:image/png;base64,") for source in pictures)
    assert "alert(1)" in page.text
    assert "44.0" in page.text
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert len(page.all("table")) == len([a for a in page.all("div") if a.get("class") == "scroll"]) > 0


def test_contents_lead_to_headings_and_pictures_come_from_the_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "inside.png").write_bytes(PIXEL)
    (tmp_path / "outside.png").write_bytes(PIXEL)
    text = (
        "# Title\n\n- [Do experts differ? (Fig. 3)](#do-experts-differ-fig-3)\n\n## Do experts differ? (Fig. 3)\n\n"
        "![inside](inside.png) ![outside](../outside.png) ![gone](gone.png) ![web](https://example.org/a.png)\n"
    )
    page = Page(html_page(text, tmp_path / "page"))
    assert page.all("a")[0]["href"] == "#do-experts-differ-fig-3"
    assert page.all("h2")[0]["id"] == "do-experts-differ-fig-3"
    assert len(page.all("img")) == 1
    for name in ("outside", "gone", "web"):
        assert f"[picture: {name}]" in page.text


def test_a_results_page_becomes_html_too(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "section.md").write_text("## One\n")
    (tmp_path / "README.md").write_text("# Results\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    assert main(["report", str(tmp_path), "--output", str(tmp_path / "out.html")]) == 0
    assert "<title>Results</title>" in (tmp_path / "out.html").read_text()


def test_nothing_to_report_on_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "none")]) == 2
    assert "is no folder" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no result.json" in capsys.readouterr().err
    with pytest.raises(OSError, match="none"):
        write_html(tmp_path / "none.md", tmp_path / "page.html")
