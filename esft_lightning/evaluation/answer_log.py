"""Generated answers on disk as they come: a test that was stopped goes on where it was, with the same answers.

A line is a completion in the authors' form, as the verb `score` reads it, with the identity of what answered: model,
adapter or checkpoint, and the settings that decide an answer. Lines of another identity are left out and replaced, so
that a changed model starts anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from esft_lightning.storage import atomic_write

__all__ = ["AnswerLog"]


class AnswerLog:
    """A file of answers that grows while a test runs."""

    def __init__(self, path: str | Path, identity: str) -> None:
        """Read the answers of this identity that are there, and open the file for more.

        A last line that was cut when its process ended is dropped.

        Args:
            path: JSONL file; made, with its folder, where it is missing.
            identity: The key of what answers and how, see `esft_lightning.identity`.

        Raises:
            OSError: The file cannot be read or written.
        """
        self.path = Path(path)
        self.identity = identity
        kept = list(self._kept())
        self.known = {entry["example"]["prompt"]: entry["example"]["raw_prediction"] for entry in kept}
        """Prompt → answer."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(self.path, "".join(_line(entry) for entry in kept).encode())
        self._file: TextIO | None = None

    def _kept(self) -> Any:
        if not self.path.is_file():
            return
        for line in self.path.read_bytes().split(b"\n"):  # U+2028 and its like are text, and end no line
            try:
                entry = json.loads(line.decode())
            except ValueError:
                continue  # cut in the middle, or damaged: its answer is generated again
            if isinstance(entry, dict) and entry.get("identity") == self.identity:
                yield entry

    def add(self, samples: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> None:
        """Write answers, at once.

        Args:
            samples: Evaluation samples with `prompt`.
            answers: What the model wrote to each.
        """
        if self._file is None:
            self._file = self.path.open("a", encoding="utf-8")
        for sample, answer in zip(samples, answers, strict=True):
            entry = {"example": {**sample, "raw_prediction": answer}, "identity": self.identity}
            self._file.write(_line(entry))
            self.known[sample["prompt"]] = answer
        self._file.flush()

    def finish(self, completions: Sequence[Mapping[str, Any]]) -> None:
        """Replace the file by the scored completions, in the samples' order.

        Args:
            completions: `{"example": …, "score": …}`.
        """
        if self._file is not None:
            self._file.close()
            self._file = None
        atomic_write(self.path, "".join(_line({**entry, "identity": self.identity}) for entry in completions).encode())


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"
