"""The embedded intent task: every answer follows from its prompt, and its references score by the official rule."""

import json
import re

import pytest
from task_rows_of import ROW_POOLS, assert_apart, pairs, rows

from esft_lightning.embedded.intent.wordings import CODED, CORRECTIONS, INSTRUCTIONS, POLITE, SCHEMA, UTTERANCES
from esft_lightning.tasks.intent_score import score_intent


def test_wordings_of_the_pools_are_disjoint_and_fill_known_slots():
    for intent, wordings in UTTERANCES.items():
        assert_apart(wordings, intent)
        for utterance in (utterance for said in wordings.values() for utterance in said):
            assert set(re.findall(r"\{(\w+)\}", utterance)) <= set(SCHEMA[intent]), utterance
    assert_apart(INSTRUCTIONS, "instructions")
    assert_apart(CORRECTIONS, "corrections")
    assert_apart({pool: tuple(set(said) - {"{}"}) for pool, said in POLITE.items()}, "politeness")


@pytest.mark.parametrize("pool", ROW_POOLS)
def test_answers_follow_from_what_the_prompt_says(pool):
    """Codes are looked up in the prompt's tables, and what they stand for is said last; the rest is copied."""
    corrected = 0
    for question, answer in pairs("intent", pool):
        given = json.loads(answer)
        listed = dict(re.findall(r"(\w+)\(([^)]*)\)", question.split("\n")[1]))
        assert set(given["slots"]) <= set(listed[given["intent"]].split(", "))
        request = question.split("request: ")[1]
        for slot, value in given["slots"].items():
            assert " " not in value  # the official rule deletes spaces in predictions alone
            if slot not in CODED:
                assert re.search(rf"\b{value}\b", request)
                continue
            table = dict(pair.split("=") for pair in re.search(rf"^{slot}: (.*)$", question, re.M)[1].split(", "))
            ways = [(way, key) for key in table for way in CODED[slot][key] if way in request]
            _, _, meant = max((request.rfind(way) + len(way), len(way), key) for way, key in ways)
            assert table[meant] == value, question
            corrected += len({key for _, key in ways}) > 1
    assert corrected > 0.02 * len(pairs("intent", pool))


def test_codes_of_the_pools_are_apart():
    codes = {
        pool: {code for question, _ in pairs("intent", pool) for code in re.findall(r"=(\w\d)\b", question)}
        for pool in ROW_POOLS
    }
    assert all(len(some) > 15 for some in codes.values())
    assert sum(map(len, codes.values())) == len(set.union(*codes.values()))


def test_own_reference_scores_one_and_a_wrong_slot_or_intent_scores_zero():
    for row in rows("intent", "test"):
        reference = row["raw_answers"][0]
        assert score_intent(f" {reference}", row) == 1.0
        answer = json.loads(reference)
        slot = sorted(answer["slots"])[0]
        assert score_intent(json.dumps({**answer, "slots": {**answer["slots"], slot: "nothing"}}), row) == 0.0
        assert score_intent(json.dumps({**answer, "intent": "other"}), row) == 0.0
