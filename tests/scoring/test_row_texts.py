"""A text where a list is expected is one item, in every scorer; anything else is refused."""

import pytest

from esft_lightning.data.rows import DataError
from esft_lightning.scoring.completions import Completion
from esft_lightning.scoring.general import follows_format, score_recall
from esft_lightning.scoring.judge.score_options import graded
from esft_lightning.scoring.row_texts import references
from esft_lightning.tasks import batch_scorer, scorer

INTENT = '{"intent": "Alarm-Set", "slots": {"day": "D1"}}'
RULING = "Guilty of theft under Article 2. Fine of 30 crowns and no custody. Costs borne by the crown."
NOTE = "Customer reports late kettle, order 412, wants refund by Friday; agent will call back."
SCORERS = {
    "math": (scorer("math"), "#### 18", "#### 8"),
    "intent": (scorer("intent"), INTENT, '{"intent": "Alarm-Set", "slots": {}}'),
    "law": (scorer("law"), RULING, "G"),
    "summary": (scorer("summary"), NOTE, "C"),
    "translation": (scorer("translation"), "The birds ate.", "T"),
    "recall": (score_recall, "Ostwick", "O"),
}


@pytest.mark.parametrize(("score", "right", "part"), SCORERS.values(), ids=SCORERS.keys())
def test_a_text_is_one_reference(score, right, part):
    assert score(right, {"raw_answers": right}) == score(right, {"raw_answers": [right]}) == pytest.approx(1.0)
    assert score(part, {"raw_answers": right}) == score(part, {"raw_answers": [right]}) < 0.5


@pytest.mark.parametrize("wrong", [None, [], 18, [18], {"a": 1}, [None], [["18"]]], ids=repr)
@pytest.mark.parametrize("score", [score for score, _, _ in SCORERS.values()], ids=SCORERS.keys())
def test_what_is_no_text_is_refused_with_what_was_expected(score, wrong):
    with pytest.raises(DataError, match=r"'raw_answers' is .*expected a list of texts"):
        score("18", {"raw_answers": wrong})


def test_a_batch_is_scored_like_its_rows():
    rows = [{"raw_answers": "18"}, {"raw_answers": ["17", "18"]}]
    assert batch_scorer("math")(["#### 18", "#### 18"], rows) == [1.0, 1.0]
    assert references(rows[0]) == ["18"]


def test_words_of_a_format_probe_are_no_letters():
    assert follows_format("LAMP", {"rule": "capitals", "words": "lamp"}) == 1.0
    assert follows_format("L", {"rule": "capitals", "words": "lamp"}) == 0.0
    assert follows_format("lamp", {"rule": "commas", "words": "lamp"}) == 1.0
    assert follows_format("l, a, m, p", {"rule": "commas", "words": "lamp"}) == 0.0
    with pytest.raises(DataError, match="'words' is 5"):
        follows_format("lamp", {"rule": "commas", "words": 5})


def test_recall_compares_letters_of_every_script():
    assert score_recall("กรุงเทพ", {"raw_answers": ["กรุงเทพ"]}) == 1.0
    assert score_recall("เชียงใหม่", {"raw_answers": ["กรุงเทพ"]}) == 0.0
    assert score_recall("东京。", {"raw_answers": ["东京"]}) == 1.0
    assert score_recall("北京", {"raw_answers": ["东京"]}) == 0.0


def test_the_judge_is_shown_a_whole_reference(monkeypatch, tmp_path):
    import argparse

    from esft_lightning.scoring.judge import score_options

    class Grades:
        scores, asked, tokens, remembered, unparsable, missing = (1.0,), 0, 0, 0, 0, 0

    shown = []

    class Judge:
        def __init__(self, *_, **__): ...

        def grade(self, triples, done):
            shown.extend(triples)
            return Grades

    monkeypatch.setattr(score_options, "Judge", Judge)
    options = argparse.Namespace(
        judge_url="http://x/v1", judge_retries=1, judge_timeout=1.0, judge_model="m", judge_rubric=None, task="law",
        judge_cache=tmp_path, judge_token_limit=1, judge_concurrency=1,
    )  # fmt: skip
    row = {"prompt": "p", "raw_answers": "guilty"}
    assert graded(options, [Completion("not guilty", row, None, "1", "f:1")]) == [1.0]
    assert shown == [("p", "guilty", "not guilty")]


@pytest.mark.parametrize("blank", ["", " ", [""], ["", "\n"]])
@pytest.mark.parametrize("name", [name for name in SCORERS if name != "recall"])
def test_a_blank_reference_is_refused(name, blank):
    with pytest.raises(DataError, match="raw_answers"):
        SCORERS[name][0]("x", {"raw_answers": blank})
