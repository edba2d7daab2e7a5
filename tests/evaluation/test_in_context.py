"""In-context probes: from a pool that pretraining never reads, solvable from their prompts, baselines by rote."""

import random
import re

import pytest
from transformers import AutoTokenizer

from esft_lightning.embedded import TINY
from esft_lightning.embedded.in_context_probes import PROBES, SHOTS, in_context_probes
from esft_lightning.embedded.pools import SYLLABLES, pool_of
from esft_lightning.embedded.tiny_model import Shape, new_model, tiny_config
from esft_lightning.evaluation import in_context
from esft_lightning.evaluation.in_context import in_context_ability, rote_baseline

ROWS = in_context_probes()


@pytest.mark.parametrize("probe", PROBES)
def test_rows_are_fixed_and_distinct(probe):
    rows = ROWS[probe]
    assert rows == in_context_probes()[probe] and len(rows) == 150
    assert in_context_probes(5)[probe] == rows[:5]
    assert len({row["prompt"] for row in rows}) == 150
    assert all(row["prompt"].count("\n\n") == SHOTS[probe] + 1 for row in rows)


def test_names_and_numbers_are_of_a_pool_that_pretraining_never_reads():
    text = "\n".join(row["prompt"] for rows in ROWS.values() for row in rows)
    made = re.findall(rf"\b(?:{'|'.join(SYLLABLES)}){{2,3}}\b", text, re.IGNORECASE)
    assert {pool_of(word) for word in made} == {"validation"} and len(set(made)) > 300
    numbers = re.findall(r"\b[1-9]\d{2,3}\b", text)
    assert {pool_of(f"number {number}") for number in numbers} == {"validation"} and len(set(numbers)) > 300


@pytest.mark.parametrize("probe", PROBES)
def test_an_answer_is_made_of_its_own_question(probe):
    for row in ROWS[probe]:
        question = row["prompt"].removesuffix("\n\nAssistant:").split("\n\n")[-1]
        names = re.findall(r"[A-Za-z]{4,}|\d{3,}", row["answer"])
        fixed = re.findall(r"[A-Za-z]{4,}|\d{3,}", row["rote"]["last_shot"])  # words of the form
        assert all(name in question for name in names if name not in fixed), row


def test_baselines_are_what_rote_gets():
    baselines = {probe: rote_baseline(rows) for probe, rows in ROWS.items()}
    assert baselines["lookup"] == pytest.approx(18, abs=4)  # one of four to eight values
    assert all(baselines[probe] < 5 for probe in ("copy", "fill_in", "format"))
    row = {"answer": "Zin", "rote": {"last_shot": "Zin.", "question": "Zin Mon", "anything": 0.0}}
    assert rote_baseline([row, {**row, "answer": "Tor"}]) == 50


def test_right_answers_score_and_others_do_not(monkeypatch):
    known = {row["prompt"]: row["answer"] for rows in ROWS.values() for row in rows}
    rng = random.Random(0)

    def answers(model, tokenizer, prompts, **options):
        return [f" {known[prompt]}\n" if "::" in prompt or rng.random() < 0 else "no" for prompt in prompts]

    monkeypatch.setattr(in_context, "generate", answers)
    ability = in_context_ability(None, None)  # type: ignore[arg-type]
    lookups = sum("::" in row["prompt"] for row in ROWS["lookup"])
    assert ability.scores == {**dict.fromkeys(PROBES, 0.0), "lookup": pytest.approx(100 * lookups / 150)}
    assert sum(ability.rows["lookup"]) == lookups
    gain = sum(ability.scores[probe] - ability.baselines[probe] for probe in PROBES) / 4
    assert ability.gain == pytest.approx(gain)


def test_an_untrained_model_has_no_such_ability():
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    shape = Shape(layers=1, experts=8, top_k=2, expert_width=8, hidden=32, heads=2, head_width=16, kv_rank=16)
    ability = in_context_ability(new_model(tiny_config(tokenizer, shape), 0), tokenizer, limit=4)
    assert set(ability.scores.values()) == {0.0} and ability.gain < 0
