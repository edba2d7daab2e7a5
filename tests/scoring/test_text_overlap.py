"""chrF, BLEU and ROUGE-L: against their definitions, on Chinese text, at the ends of their scale."""

import math
import random
from collections import Counter

import pytest

from esft_lightning.data.rows import DataError
from esft_lightning.embedded.rows import task_rows
from esft_lightning.scoring.text_overlap import METRICS, bleu, chrf, corpus_score, overlap_metric, rouge_l
from esft_lightning.scoring.unspaced_scripts import split_unspaced


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
    answers = [row["raw_answers"][0] for row in task_rows("translation", "test", 80)]
    for _ in range(200):
        prediction, reference = rng.choice(answers), rng.choice(answers)
        assert math.isclose(chrf(prediction, [reference]), _chrf(prediction, reference), abs_tol=1e-9)


def _longest_common(left, right):
    lengths = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            lengths[i + 1][j + 1] = lengths[i][j] + 1 if one == other else max(lengths[i][j + 1], lengths[i + 1][j])
    return lengths[-1][-1]


def test_rouge_l_equals_the_definition():
    rng = random.Random(1)
    words = ["the", "red", "birds", "ate", "an", "apple", "and", "slept"]
    for _ in range(100):
        one, other = (rng.choices(words, k=rng.randint(1, 9)) for _ in range(2))
        common = _longest_common(one, other)
        expected = 2 * common / (len(one) + len(other))
        assert math.isclose(rouge_l(" ".join(one), [" ".join(other)]), expected, abs_tol=1e-9)


def test_every_chinese_character_is_a_word():
    # 判 决 如 下 against 判 决 驳 回: two of four characters in order
    assert rouge_l("判决如下", ["判决驳回"]) == pytest.approx(0.5)
    assert bleu("驳回原告的诉讼请求", ["驳回原告的诉讼请求"]) == pytest.approx(1.0)
    assert 0.0 < bleu("驳回原告的诉讼请求", ["驳回原告全部诉讼请求"]) < 1.0


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_ends_of_the_scale_and_the_best_reference(metric):
    text = "The red birds ate the apple in the garden."
    assert metric(text, [text]) == pytest.approx(1.0)
    assert metric("", [text]) == metric("  ", [text]) == 0.0
    assert metric("zzz qqq", [text]) < 0.1
    assert metric(text, ["Two kings.", text]) == pytest.approx(1.0)


def test_corpus_scores_pool_their_counts():
    predictions, references = ["the red birds ate the apple", "two kings"], [["the red birds ate an apple"], ["kings"]]
    for name, metric in METRICS.items():
        pooled = corpus_score(name, predictions, references)
        mean = sum(map(metric, predictions, references)) / 2
        assert 0.0 < pooled < 1.0
        assert (pooled == pytest.approx(mean)) is (name == "rouge_l")


def test_unknown_metrics_and_empty_corpora_are_refused():
    with pytest.raises(ValueError, match="unknown metric 'meteor'; expected one of chrf, bleu, rouge_l"):
        overlap_metric("meteor")
    with pytest.raises(ValueError, match="0 predictions"):
        corpus_score("chrf", [], [])


ENDINGS = [
    pytest.param("きのうはあめでした", "きのうはあめだった", id="kana"),
    pytest.param("サーバーがダウンした", "サーバーがダウンする", id="katakana"),
    pytest.param("昨日は雨でした", "昨日は雨だった", id="kana and kanji"),
    pytest.param("ฉันไปโรงเรียนแล้ว", "ฉันไปโรงเรียนครับ", id="Thai"),
    pytest.param("ຂ້ອຍໄປໂຮງຮຽນແລ້ວ", "ຂ້ອຍໄປໂຮງຮຽນນີ້", id="Lao"),
    pytest.param("ខ្ញុំទៅសាលារៀនហើយ", "ខ្ញុំទៅសាលារៀនទេ", id="Khmer"),
    pytest.param("ကျွန်တော်ကျောင်းသွားတယ်", "ကျွန်တော်ကျောင်းသွားမယ်", id="Burmese"),
    pytest.param("ངས་དེབ་ཀློགས་སོ", "ངས་དེབ་ཀློགས་ཡོད", id="Tibetan"),
    pytest.param("驳回原告请求", "驳回原告诉求", id="Chinese"),
    pytest.param("今日はMondayでした", "今日はMondayだった", id="kana and Latin"),
    pytest.param(
        "\U00020000\U00020001\U00020002\U00020005\U00020006",
        "\U00020000\U00020001\U00020002\U00020005\U00020003",
        id="rare Chinese",
    ),
]


@pytest.mark.parametrize(("answer", "reference"), ENDINGS)
def test_one_other_ending_is_most_of_a_sentence_in_a_script_without_spaces(answer: str, reference: str):
    for name, metric in METRICS.items():
        assert 0.1 < metric(answer, [reference]) < 1.0, name
        assert metric(answer, [answer]) == pytest.approx(1.0), name
        assert 0.1 < corpus_score(name, [answer] * 3, [[reference]] * 3) < 1.0, name
    assert rouge_l(answer, [reference]) > 0.5
    assert rouge_l(answer[::-1], [reference]) < rouge_l(answer, [reference])


def test_marks_stay_with_their_letters_and_other_scripts_are_left_alone():
    assert split_unspaced("ที่นี่").split() == ["ที่", "นี่"]
    assert split_unspaced("ខ្ញុំ").split() == ["ខ្ញុំ"]
    assert split_unspaced("サーバー").split() == ["サー", "バー"]
    for text in ("The red birds.", "그는 학교에 갔다", "判决如下", "Привет, мир", "नमस्ते दुनिया"):
        assert split_unspaced(text) == text


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_text_of_references_is_one_reference(metric):
    assert metric("the red birds", "the red birds ate") == metric("the red birds", ["the red birds ate"]) > 0
    for wrong in (None, [], 5, [3], {"a": "b"}):
        with pytest.raises(DataError, match="expected a list of texts"):
            metric("the red birds", wrong)


def test_a_corpus_takes_a_text_as_one_reference():
    for name in METRICS:
        assert corpus_score(name, ["red birds"], ["red birds ate"]) == corpus_score(
            name, ["red birds"], [["red birds ate"]]
        )
