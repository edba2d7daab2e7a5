"""The score of a translation: F1 of content words where the row says so, else ROUGE-L."""

import subprocess
import sys

import pytest

from esft_lightning.embedded.rows import task_rows
from esft_lightning.scoring.content_words import content_f1, content_words
from esft_lightning.tasks.translation_score import exact_translation, score_translation

ROW = {"raw_answers": ["The red birds ate the apple."], "metric": "content_words"}
CHEROKEE = {"raw_answers": ["The red birds ate the apple."]}


def test_the_reference_itself_scores_one():
    for row in task_rows("translation", "test", 300):
        assert score_translation(" " + row["raw_answers"][0], row) == pytest.approx(1.0)
        assert exact_translation(" " + row["raw_answers"][0], row) == 1.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The red birds did not eat the apple.", ["red", "birds", "did not eat", "apple"]),
        ("He does not sleep in the house.", ["do not sleep", "house"]),
        ("Yesterday three wolves met him.", ["yesterday", "three", "wolves", "met"]),
        ("We will; they do not.", ["will do not"]),
        ("The in a of.", []),
        ("", []),
    ],
)
def test_content_words_hold_what_is_bound_to_them(text, words):
    assert content_words(text) == words


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("The red birds ate the apple.", 1.0),
        ("red birds ate apple", 1.0),
        ("The red birds eat the apple.", 3 / 4),
        ("The red birds did not ate the apple.", 3 / 4),
        ("The red bird ate an apple", 3 / 4),
        ("The birds ate.", 2 * 2 / (2 + 4)),
        ("The birds birds birds ate.", 2 * 2 / (4 + 4)),
        ("The king saw the queen.", 0.0),
        ("The the the the.", 0.0),
        ("", 0.0),
    ],
)
def test_f1_of_content_words(answer, score):
    assert score_translation(answer, ROW) == pytest.approx(score)


def test_form_alone_earns_nothing_by_content_words_and_half_by_rouge():
    form = "The old king saw the queen."
    assert score_translation(form, ROW) == 0.0
    assert score_translation(form, CHEROKEE) > 0.3


def test_the_metric_is_the_rows_own_unless_one_is_asked_for():
    eats = "The red birds eat the apple."
    assert score_translation(eats, ROW, metric="rouge_l") == score_translation(eats, CHEROKEE)
    assert score_translation(eats, CHEROKEE, metric="content_words") == score_translation(eats, ROW)
    with pytest.raises(ValueError, match="unknown metric 'taste'"):
        score_translation(eats, {**ROW, "metric": "taste"})


def test_the_worse_the_answer_the_lower_the_score_of_free_text():
    answers = [
        "The red birds ate the apple.",
        "The red birds eat the apple.",
        "The red birds slept.",
        "Two kings.",
        "ᚁᚂ",
    ]
    scores = [score_translation(answer, CHEROKEE) for answer in answers]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores)
    assert scores[0] == pytest.approx(1.0)
    assert scores[-1] == 0.0


@pytest.mark.parametrize("row", [ROW, CHEROKEE])
def test_only_the_first_line_counts(row):
    assert score_translation(f"\n{row['raw_answers'][0]}\nUser: and this?", row) == pytest.approx(1.0)
    assert score_translation("  \n\n", row) == 0.0


def test_the_best_reference_counts():
    assert content_f1("A man.", ["The king waits.", "A man."]) == 1.0
    assert score_translation("A man.", {"raw_answers": ["The king waits.", "A man."]}) == pytest.approx(1.0)


def test_a_row_without_references_names_what_is_missing():
    for row in ({}, {"raw_answers": []}, {"raw_answers": [1]}):
        with pytest.raises(ValueError, match="raw_answers"):
            score_translation("x", row)


def test_generators_and_scorers_start_without_torch_or_sacrebleu():
    code = (
        "import sys\n"
        "from esft_lightning.data import leakage\n"
        "from esft_lightning.embedded import law, summary, translation\n"
        "from esft_lightning.tasks import law_score, rote, summary_score, translation_score\n"
        "print([name for name in ('torch', 'lightning', 'transformers', 'sacrebleu') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
