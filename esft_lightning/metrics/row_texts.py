"""The references and the tests of an evaluation row: one text or a list of texts, never a text's characters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esft_lightning.data.errors import DataError

__all__ = ["row_texts"]

_EXAMPLES = {
    "raw_answers": '{"prompt": "User: …\\n\\nAssistant:", "raw_answers": ["…"]}',
    "tests": '{"prompt": "…", "entry_point": "f", "tests": ["assert f(1) == 2"]}',
    "test_list": '{"text": "…", "code": "…", "test_list": ["assert f(1) == 2"]}',
}


def row_texts(row: Mapping[str, Any], key: str = "raw_answers") -> list[str]:
    """Return the texts that a row holds under a key; a text alone is a list of one.

    Args:
        row: An evaluation row.
        key: `raw_answers`, `tests` or `test_list`.

    Raises:
        DataError: There is none, or something that is no text.
    """
    value = row.get(key)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not texts or not all(isinstance(text, str) for text in texts):
        raise DataError(
            f"evaluation row: {key!r} is {value!r}; expected a list with at least one text, as in {_EXAMPLES[key]}"
        )
    return list(texts)
