r"""Training rows that stand in the evaluation data, too: found by n-grams of words, and left out.

A training row is contaminated when its text and an evaluation question share `n` words in a row (13, as in GPT-3's
report, Brown et al. 2020, appendix C). Words are runs of letters and digits, lower-cased. In a question that is mostly
Chinese or Japanese two characters make a word: thirteen characters in a row are common phrases of its law. A question
of fewer words counts when all of it stands in the row, if it has at least `SHORTEST` words. Of a few-shot prompt the
question alone counts: its examples are training rows by design. What all questions begin or end with is the task's
instruction, no sign of contamination, and is set aside on both sides.

Time is proportional to the text: n-grams are looked up, rows are not compared with one another.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from esft_lightning.data.few_shot import split_examples
from esft_lightning.errors import SettingError

NGRAM = 13
SHORTEST = 5
"""Words of the shortest question that can be found."""
_CHARACTER = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")


@dataclass(frozen=True)
class Contamination:
    """A training row that was found.

    Attributes:
        row: Its number.
        question: Number of the evaluation question.
        shared: The words that they share.
    """

    row: int
    question: int
    shared: str


def words(text: str) -> list[str]:
    """The words of a text, lower-cased; each Chinese or Japanese character by itself."""
    return _WORD.findall(text.lower())


def contaminated(rows: Iterable[str], prompts: Sequence[str], ngram: int = NGRAM) -> list[Contamination]:
    r"""Find the training rows that hold an evaluation question or a part of it.

    Args:
        rows: The whole text of each training row.
        prompts: Evaluation prompts, `User: …\n\nAssistant:`, few-shot or not.
        ngram: Words in a row that count.

    Returns:
        The rows that were found, in their order, each with the first words that it shares.

    Raises:
        ValueError: `ngram` is smaller than `SHORTEST`.
    """
    if ngram < SHORTEST:
        raise SettingError(f"decontaminate={ngram}: fewer than {SHORTEST} words in a row say nothing; give 0 for none")
    questions = [split_examples(prompt)[-1] for prompt in prompts]
    before, after = _frame(questions)
    grams: dict[tuple[str, ...], int] = {}
    for number, question in enumerate(questions):
        found = words(question[len(before) : len(question) - len(after)])
        pieces = 2 if 2 * sum(_CHARACTER.fullmatch(word) is not None for word in found) > len(found) else 1
        size = min(pieces * ngram, len(found))
        if size >= pieces * SHORTEST:
            for start in range(len(found) - size + 1):
                grams.setdefault(tuple(found[start : start + size]), number)
    sizes = sorted({len(gram) for gram in grams}, reverse=True)
    texts = (text.replace(before, " ") if before else text for text in rows)
    return [hit for row, text in enumerate(texts) if (hit := _look_up(row, text, grams, sizes))]


def _look_up(row: int, text: str, grams: dict[tuple[str, ...], int], sizes: Sequence[int]) -> Contamination | None:
    found = words(text)
    for size in sizes:
        for start in range(len(found) - size + 1):
            gram = tuple(found[start : start + size])
            if (question := grams.get(gram)) is not None:
                return Contamination(row, question, " ".join(gram))
    return None


def _frame(questions: Sequence[str]) -> tuple[str, str]:
    """What all questions begin and end with; nothing where there is a single one."""
    if len(set(questions)) < 2:
        return "", ""
    before = _common_start(questions)
    return before, _common_start([question[len(before) :][::-1] for question in questions])[::-1]


def _common_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)  # what the first and the last in the alphabet share, all share
    length = next((n for n, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:length]
