"""Rows that must not train: evaluation questions, and validation rows. What is left out is counted and said."""

import logging
from collections.abc import Sequence
from typing import Any

from esft_lightning.data.decontamination import contaminated
from esft_lightning.data.errors import DataError
from esft_lightning.data.rows import ChatRow
from esft_lightning.data.split import unlike

log = logging.getLogger(__name__)
_NAMED = 5


def without_questions(
    rows: list[ChatRow], prompts: Sequence[str], ngram: int, what: str, report: dict[str, Any], *, aloud: bool
) -> list[ChatRow]:
    """Leave out the rows that are an evaluation question, hold one, or hold a part of one.

    Args:
        rows: Training, validation or general rows.
        prompts: The evaluation prompts.
        ngram: Words in a row that count, see `decontamination`.
        what: `training`, `validation` or `general`.
        report: Takes `contaminated_WHAT_rows`, `contaminated_rows` over all, and `contaminated_examples`; what is read
            again counts once.
        aloud: Whether this process is the one that speaks.

    Raises:
        DataError: No row is left; general rows may all go, which is said.
    """
    found = contaminated((row.messages for row in rows), prompts, ngram)
    if f"contaminated_{what}_rows" not in report:
        examples = [
            f"{rows[hit.row].origin} shares with evaluation question {hit.question + 1}: {hit.shared}" for hit in found
        ]
        report[f"contaminated_{what}_rows"] = len(found)
        report["contaminated_rows"] = report.get("contaminated_rows", 0) + len(found)
        report["contaminated_examples"] = [*report.get("contaminated_examples", []), *examples][:_NAMED]
        for example in examples[:_NAMED] if aloud else []:
            log.warning("left out of the %s rows: %s", what, example)
        if aloud and len(examples) > _NAMED:
            log.warning("left out of the %s rows: %d more", what, len(examples) - _NAMED)
    if found and len(found) == len(rows) and what != "general":
        raise DataError(
            f"{report['task']}: every {what} row is an evaluation question, or shares {ngram} words in a row with one; "
            "are these the evaluation rows? Set decontaminate=0 to use them"
        )
    dropped = {hit.row for hit in found}
    return [row for number, row in enumerate(rows) if number not in dropped]


def without_validation(
    rows: list[ChatRow], validation: list[ChatRow], what: str, report: dict[str, Any]
) -> list[ChatRow]:
    """Leave out the rows that validate, too.

    Args:
        rows: Training or general rows.
        validation: The validation rows.
        what: `training` or `general`.
        report: Takes `validation_rows_in_WHAT`.

    Raises:
        DataError: No training row is left.
    """
    kept = unlike(rows, validation)
    report[f"validation_rows_in_{what}"] = len(rows) - len(kept)
    if not kept and what == "training":
        raise DataError(f"{report['task']}: every training row stands in val_files, too; give other validation rows")
    return kept
