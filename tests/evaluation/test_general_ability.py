"""General ability: the probes of an untrained model stand at chance, and the numbers do not depend on batching."""

import math

import pytest
from transformers import AutoTokenizer

from esft_lightning.embedded import TINY
from esft_lightning.embedded.general_probes import PROBES
from esft_lightning.embedded.tiny_model import new_model, tiny_config
from esft_lightning.evaluation import general_ability


@pytest.fixture(scope="module")
def measured():
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    model = new_model(tiny_config(tokenizer), seed=0).eval()
    return [general_ability(model, tokenizer, limit=6, batch_size=size) for size in (5, 64)]


@pytest.fixture(scope="module")
def scores(measured):
    return [entry.scores for entry in measured]


def test_every_probe_has_a_score_between_0_and_1(scores):
    assert set(scores[0]) == {*PROBES, "held_out_text", "average"}
    assert all(0.0 <= value <= 1.0 for value in scores[0].values())


def test_the_batch_size_changes_nothing(scores):
    assert scores[0] == pytest.approx(scores[1], abs=0.005)


def test_rows_make_up_the_scores_and_the_loss_is_that_of_guessing(measured, scores):
    for probe in PROBES:
        assert len(measured[0].rows[probe]) == 6
        assert sum(measured[0].rows[probe]) / 6 == pytest.approx(scores[0][probe])
    assert measured[0].loss == pytest.approx(math.log(2048), rel=0.1)
    assert measured[0].loss == pytest.approx(measured[1].loss, rel=1e-5)


def test_an_untrained_model_knows_nothing(scores):
    assert scores[0]["recall"] == 0.0 and scores[0]["format"] == 0.0
    assert scores[0]["held_out_text"] < 0.02
