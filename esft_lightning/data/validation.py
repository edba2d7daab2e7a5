"""Validation rows in two forms: conversations, whose loss is measured, and questions, whose answers are scored.

Embedded rows come as questions with all that a scorer needs, in wordings and values of their own; rows of files and of
the hub come as conversations. Knows rows; knows no tokens and no scorer.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from esft_lightning.data.chat import question_of
from esft_lightning.data.rows import ChatRow, check_messages
from esft_lightning.data.samples import check_sample
from esft_lightning.data.sources import embedded_records

__all__ = ["EMBEDDED_VAL_ROWS", "conversations", "embedded_validation", "questions"]

EMBEDDED_VAL_ROWS = 200


def embedded_validation(task: str, count: int, seed: int) -> list[tuple[str, dict[str, Any]]]:
    """The validation rows of an embedded task: place and evaluation sample of each."""
    records = embedded_records(task, "validation", count, seed)
    return [(origin, check_sample(record, origin)) for origin, record in records if isinstance(record, dict)]


def conversations(samples: Iterable[tuple[str, dict[str, Any]]]) -> list[ChatRow]:
    """Evaluation samples as conversations that end in their first reference."""
    rows = []
    for origin, sample in samples:
        turns = (("user", question_of(sample["prompt"])), ("assistant", sample["raw_answers"][0]))
        rows.append(check_messages({"messages": [{"role": role, "content": text} for role, text in turns]}, origin))
    return rows


def questions(rows: Sequence[ChatRow]) -> list[dict[str, Any]]:
    """The conversations of one question and one right answer, as evaluation samples; others cannot be asked."""
    asked = [row for row in rows if len(row.messages) == 2 and not row.messages[1].get("mask")]
    return [check_sample({"messages": row.messages}, row.origin) for row in asked]
