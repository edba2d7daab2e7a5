"""What a judge has said, on disk: a request that was answered once is never sent again.

An entry's name is the hash of everything that decides the answer (endpoint, model, messages, parameters); its file
holds the answer and what it cost, never the key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from esft_lightning.errors import FileError
from esft_lightning.storage import atomic_write

__all__ = ["Answer", "AnswerCache"]


@dataclass(frozen=True)
class Answer:
    """What a judge said.

    Attributes:
        text: Its answer.
        tokens: Tokens of request and answer together, as the endpoint counted them.
    """

    text: str
    tokens: int


class AnswerCache:
    """A folder of answers; several threads and processes may share it."""

    def __init__(self, folder: str | Path) -> None:
        """Choose the folder.

        Args:
            folder: Made with the first answer.
        """
        self.folder = Path(folder)

    def get(self, request: Mapping[str, Any]) -> Answer | None:
        """The answer to a request, None where it was never asked.

        Raises:
            FileError: An entry that cannot be read; the file is named.
        """
        path = self._path(request)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return Answer(str(content["text"]), int(content["tokens"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FileError(f"{path}: no answer of a judge ({error}); delete the file to ask again") from error

    def put(self, request: Mapping[str, Any], answer: Answer) -> None:
        """Keep an answer.

        Args:
            request: JSON values.
            answer: What was said.
        """
        path = self._path(request)
        atomic_write(path, (json.dumps(asdict(answer)) + "\n").encode())

    def _path(self, request: Mapping[str, Any]) -> Path:
        text = json.dumps(request, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        name = hashlib.sha256(text.encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.json"
