"""The score of a translation: ROUGE-L of its first line."""

import subprocess
import sys

import pytest

from esft_lightning.data.embedded import translation
from esft_lightning.metrics.free_text import exact_match
from esft_lightning.metrics.translation import score_translation

ROW = {"raw_answers": ["The red birds ate the apple."]}


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
        score_translation("x", {"raw_answers": {"not": "a list"}})


def test_generators_and_scorers_start_without_torch_or_sacrebleu():
    code = (
        "import sys\n"
        "from esft_lightning.data.embedded import law, summary, translation\n"
        "from esft_lightning.metrics import law, summary, translation\n"
        "print([name for name in ('torch', 'lightning', 'transformers', 'sacrebleu') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
