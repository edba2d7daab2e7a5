"""One page out of many sections: verdicts first, then every section with its tables and figures."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from esft_lightning.publication.claim import Claim
from esft_lightning.publication.section import CLAIMS_FILE, SECTION_FILE, claims_table
from esft_lightning.storage import atomic_write, whole_files

PAGE_FILE = "README.md"
_LINK = re.compile(r"\]\((?!https?:|#|/)([^)\s]+)\)")


def write_page(title: str, introduction: str, sections: Sequence[Path], folder: str | Path) -> Path:
    """Copy sections below `folder` and join them into one page.

    Args:
        title: Heading of the page.
        introduction: Paragraphs below it: the command, the commit, the date, what was run.
        sections: Folders that `write_section` wrote, in the order of the page.
        folder: Where the page goes. A section's folder of an earlier page is replaced; other files stay.

    Returns:
        The page.

    Raises:
        FileNotFoundError: A folder that holds no section.
    """
    folder = Path(folder)
    for source in sections:
        if not (source / SECTION_FILE).is_file():
            raise FileNotFoundError(f"{source} holds no {SECTION_FILE}: run its experiment first")
    folder.mkdir(parents=True, exist_ok=True)
    claims: list[Claim] = []
    texts, contents = [], []
    for source in sections:
        _replace_folder(source, folder / source.name)
        text = (source / SECTION_FILE).read_text(encoding="utf-8")
        texts.append(_LINK.sub(lambda match, name=source.name: f"]({name}/{match[1]})", text).strip())
        heading = text.splitlines()[0].lstrip("# ").strip()
        contents.append(f"- [{heading}](#{heading_anchor(heading)})")
        claims += [Claim.from_dict(entry) for entry in json.loads((source / CLAIMS_FILE).read_text(encoding="utf-8"))]
    parts = [f"# {title}", introduction.strip(), "\n".join(contents)]
    if claims:
        parts += ["## The paper's claims", claims_table(claims).to_markdown().strip()]
    path = folder / PAGE_FILE
    atomic_write(path, ("\n\n".join([*parts, *texts]) + "\n").encode())
    return path


def _replace_folder(source: Path, target: Path) -> None:
    """Copy a section's files; `target` holds just these afterwards."""
    target.mkdir(exist_ok=True)
    names = {path.name for path in source.iterdir() if path.is_file()}
    for path in target.iterdir():
        if path.is_file() and path.name not in names:
            path.unlink()
    with whole_files(target) as folder:
        for name in sorted(names):
            shutil.copyfile(source / name, folder / name)


def heading_anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
