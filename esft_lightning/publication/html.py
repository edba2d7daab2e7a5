"""A Markdown page as one self-contained HTML file: pictures inside, no server, no script, readable on a phone."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from markdown_it import MarkdownIt

from esft_lightning.publication.page import heading_anchor
from esft_lightning.storage import atomic_write

_KINDS = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}
_STYLE = Path(__file__).with_name("page.css")


def write_html(markdown: str | Path, output: str | Path) -> Path:
    """Write a Markdown file as HTML, atomically.

    Raw HTML in the text is shown as text. Pictures beside the file are taken into the page; a picture that is not
    there, or lies elsewhere, is named in words.

    Args:
        markdown: The file.
        output: The HTML file.

    Returns:
        The HTML file.

    Raises:
        OSError: The file cannot be read, or the page not be written.
    """
    source, output = Path(markdown), Path(output)
    atomic_write(output, html_page(source.read_text(encoding="utf-8"), source.parent).encode())
    return output


def html_page(text: str, folder: Path) -> str:
    """A whole HTML document made of Markdown.

    Args:
        text: CommonMark with tables.
        folder: Where the pictures lie that it names.
    """
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = renderer.parse(text)
    title = next((tokens[n + 1].content for n, token in enumerate(tokens) if token.tag == "h1"), "Results")
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", heading_anchor(tokens[number + 1].content))
        for child in token.children or []:
            if child.type == "image":
                _take_in(child, folder)
    body = renderer.renderer.render(tokens, renderer.options, {})
    body = body.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{_STYLE.read_text(encoding='utf-8')}</style>\n</head>\n"
        f"<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def _take_in(image: Any, folder: Path) -> None:
    """Put a picture's bytes in place of its name; where that cannot be, its text."""
    path = (folder / unquote(str(image.attrGet("src")))).resolve()
    kind = _KINDS.get(path.suffix.lower())
    if kind is None or not path.is_relative_to(folder.resolve()) or not path.is_file():
        image.type, image.tag = "text", ""
        image.content = f"[picture: {image.content}]"
        return
    image.attrSet("src", f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}")
    image.attrSet("alt", re.sub(r"\s+", " ", image.content))
