"""Rows and files of rows for the tests of this folder."""

import json
from pathlib import Path
from typing import Any


def chat(*turns: str) -> dict[str, Any]:
    """A row whose turns are user, assistant, user and so on."""
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[n % 2], "content": turn} for n, turn in enumerate(turns)]}


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
