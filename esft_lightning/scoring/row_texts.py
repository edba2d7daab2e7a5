"""Texts that a row holds one or several of: references, tests, words. Every scorer reads them here.

A single text where a list is expected is one item, never its characters; anything else is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esft_lightning.data.rows import DataError

__all__ = ["as_texts", "references", "texts"]


def as_texts(value: Any, name: str) -> list[str]:
    """Return one text, or a list of texts, as a list.

    Args:
        value: What a row holds.
        name: Its key, for the error message.

    Raises:
        DataError: It is neither, or empty.
    """
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not items or not all(isinstance(item, str) for item in items):
        raise DataError(f"{name!r} is {value!r}; expected a list of texts with at least one, or one text")
    return list(items)


def texts(row: Mapping[str, Any], key: str) -> list[str]:
    """Return the texts under a key of a row.

    Raises:
        DataError: There are none, or they are no texts.
    """
    return as_texts(row.get(key), key)


def references(row: Mapping[str, Any]) -> list[str]:
    """Return the accepted answers of an evaluation row.

    Raises:
        DataError: `raw_answers` is neither a text nor a list of texts, or blank.
    """
    answers = row.get("raw_answers")
    try:
        texts = as_texts(answers, "raw_answers")
        if not any(text.strip() for text in texts):
            raise DataError("'raw_answers' is blank; expected a text that says something")
        return texts
    except DataError as error:
        raise DataError(f'evaluation row: {error}, as in {{"prompt": "…", "raw_answers": ["…"]}}') from None
