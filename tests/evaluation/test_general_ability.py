"""General ability: the probes of an untrained model stand at chance, and the numbers do not depend on batching."""

import pytest
from transformers import AutoTokenizer

from esft_lightning.assets import TINY
from esft_lightning.assets.tiny_model import new_model, tiny_config
from esft_lightning.data.embedded.general_probes import PROBES
from esft_lightning.evaluation import general_ability


@pytest.fixture(scope="module")
def scores():
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    model = new_model(tiny_config(tokenizer), seed=0).eval()
    return [general_ability(model, tokenizer, limit=6, batch_size=size) for size in (5, 64)]


def test_every_probe_has_a_score_between_0_and_1(scores):
    assert set(scores[0]) == {*PROBES, "held_out_text", "average"}
    assert all(0.0 <= value <= 1.0 for value in scores[0].values())


def test_the_batch_size_changes_nothing(scores):
    assert scores[0] == pytest.approx(scores[1], abs=0.005)


def test_an_untrained_model_knows_nothing(scores):
    assert scores[0]["recall"] == 0.0 and scores[0]["format"] == 0.0
    assert scores[0]["held_out_text"] < 0.02
