"""What a judge is told about a task, and how its grade is read.

A rubric is a YAML file with the texts `system` and `user`; `{prompt}`, `{reference}` and `{answer}` in them are filled
in. The paper's judge gave grades out of 10, and an answer without a grade counted 0; so it is here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from esft_lightning.errors import FileError

__all__ = ["HIGHEST", "RUBRICS", "Rubric", "load_rubric", "read_grade"]

RUBRICS = Path(__file__).parent / "rubrics"
"""Folder of the rubrics that come with the library, one a task."""
HIGHEST = 10.0
"""The best grade; 0 is the worst."""
_PLACES = ("prompt", "reference", "answer")
_PLACE = re.compile(r"\{(\w+)\}")
_GRADE = re.compile(r"score\s*(?:is)?\s*[:：=]?\s*\**\s*(-?\d+(?:\.\d+)?)(?:\s*/\s*(\d+))?", re.IGNORECASE)


@dataclass(frozen=True)
class Rubric:
    """What the judge is told.

    Attributes:
        system: The system message.
        user: The user message, with the places `{prompt}`, `{reference}` and `{answer}`.
    """

    system: str
    user: str

    def messages(self, prompt: str, reference: str, answer: str) -> list[dict[str, str]]:
        """The conversation for one answer; what is filled in is text, whatever braces it holds.

        Args:
            prompt: What the model was asked.
            reference: The right answer.
            answer: What the model wrote.
        """
        filling = {"prompt": prompt, "reference": reference, "answer": answer}
        return [
            {"role": role, "content": _PLACE.sub(lambda match: filling[match[1]], text).strip()}
            for role, text in (("system", self.system), ("user", self.user))
        ]


def load_rubric(path: str | Path) -> Rubric:
    """Read a rubric.

    Args:
        path: A YAML file.

    Raises:
        ValueError: No such file, or one that is no rubric; the file and the key are named.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise FileError(f"{path}: no rubric can be read: {error}") from error
    if not isinstance(content, dict) or set(content) != {"system", "user"}:
        keys = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise FileError(f"{path}: expected the keys system and user, found {keys}")
    for key, text in content.items():
        if not isinstance(text, str):
            raise FileError(f"{path}: {key} is a {type(text).__name__}; expected a text")
        if unknown := sorted(set(_PLACE.findall(text)) - set(_PLACES)):
            raise FileError(f"{path}: {key} has a place {{{unknown[0]}}}; expected some of {', '.join(_PLACES)}")
    if "{answer}" not in content["user"]:
        raise FileError(f"{path}: user has no place {{answer}}, so that the judge would not see what it grades")
    return Rubric(content["system"], content["user"])


def read_grade(text: str) -> float | None:
    """The grade that a judge's answer ends in: its last `Score: N`, also `Score: N/10`.

    Returns:
        Grade / 10, in [0, 1]; None where there is no grade, or one that is not between 0 and 10.
    """
    found = _GRADE.findall(text)
    if not found:
        return None
    grade, out_of = found[-1]
    if out_of and float(out_of) != HIGHEST:
        return None
    value = float(grade) / HIGHEST
    return value if 0.0 <= value <= 1.0 else None
