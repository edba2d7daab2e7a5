"""The score of a translation: chrF of the first line, checked against a plain computation from the definition."""

import math
import random
import subprocess
import sys
from collections import Counter

import pytest

from esft_lightning.data.embedded import translation
from esft_lightning.metrics.free_text import chrf, exact_match
from esft_lightning.metrics.translation import score_translation

ROW = {"raw_answers": ["The red birds ate the apple."]}


def _chrf(prediction: str, reference: str) -> float:
    """ChrF from its definition: mean precision and recall of character n-grams, orders 1–6, F with β = 2, no spaces.

    Orders that either side is too short for are left out of the means.
    """
    prediction, reference = ("".join(text.split()) for text in (prediction, reference))
    precisions, recalls = [], []
    for n in range(1, 7):
        found, wanted = (Counter(t[i : i + n] for i in range(len(t) - n + 1)) for t in (prediction, reference))
        if found and wanted:
            matched = (found & wanted).total()
            precisions.append(matched / found.total())
            recalls.append(matched / wanted.total())
    precision, recall = (sum(values) / len(values) if values else 0.0 for values in (precisions, recalls))
    return 5 * precision * recall / (4 * precision + recall) if precision + recall else 0.0


def test_chrf_equals_the_definition():
    rng = random.Random(0)
    answers = [row["raw_answers"][0] for row in translation.test_rows(80)]
    for _ in range(200):
        prediction, reference = rng.choice(answers), rng.choice(answers)
        assert math.isclose(chrf(prediction, [reference]), _chrf(prediction, reference), abs_tol=1e-9)


def test_the_reference_itself_scores_one():
    for row in translation.test_rows(300):
        assert score_translation(" " + row["raw_answers"][0], row) == pytest.approx(1.0)
        assert exact_match(" " + row["raw_answers"][0], row) == 1.0


def test_the_worse_the_answer_the_lower_the_score():
    answers = [
        "The red birds ate the apple.",
        "The red birds eat the apple.",
        "The red birds slept.",
        "Two kings.",
        "ᚁᚂ",
    ]
    scores = [score_translation(answer, ROW) for answer in answers]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores)
    assert scores[0] == pytest.approx(1.0)
    assert scores[-1] == 0.0


@pytest.mark.parametrize("answer", ["", "  \n\n"])
def test_an_empty_answer_scores_zero(answer):
    assert score_translation(answer, ROW) == 0.0
    assert exact_match(answer, ROW) == 0.0


def test_only_the_first_line_counts():
    assert score_translation(f"\n{ROW['raw_answers'][0]}\nUser: and this?", ROW) == pytest.approx(1.0)


def test_the_best_reference_counts():
    assert score_translation("A man.", {"raw_answers": ["The king waits.", "A man."]}) == pytest.approx(1.0)


def test_a_row_without_references_names_what_is_missing():
    with pytest.raises(ValueError, match="raw_answers"):
        score_translation("x", {"raw_answers": "not a list"})


def test_generators_and_scorers_start_without_torch_or_sacrebleu():
    code = (
        "import sys\n"
        "from esft_lightning.data.embedded import law, summary, translation\n"
        "from esft_lightning.metrics import law, summary, translation\n"
        "print([name for name in ('torch', 'lightning', 'transformers', 'sacrebleu') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
