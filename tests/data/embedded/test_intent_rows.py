"""The embedded intent task: rows, split, and that its own references score by the official rule."""

import json
import random
from itertools import islice

from esft_lightning.data.embedded import intent
from esft_lightning.metrics.intent import score_intent

TRAIN = intent.train_rows(5000, seed=3)
TEST = intent.test_rows(1500, seed=3)


def users(rows: list[dict]) -> list[str]:
    return [row["messages"][0]["content"] for row in rows]


def test_same_seed_same_rows_other_seed_other_rows() -> None:
    assert intent.train_rows(50, seed=3) == TRAIN[:50]
    assert intent.test_rows(50, seed=3) == TEST[:50]
    assert users(intent.train_rows(50, seed=4)) != users(TRAIN[:50])


def test_prompts_are_distinct_and_never_shared_between_train_and_test() -> None:
    train, test = set(users(TRAIN)), {row["prompt"][len("User: ") : -len("\n\nAssistant:")] for row in TEST}
    assert len(train) == 5000
    assert len(test) == 1500
    assert not train & test


def test_templates_of_the_splits_are_disjoint_and_fill_known_slots() -> None:
    for name, by_split in intent.TEMPLATES.items():
        every = [template for split in ("train", "test", "documents") for template in by_split[split]]
        assert len(every) == len(set(every)), name
        for template in (*by_split["train"], *by_split["test"]):
            assert set(intent.PLACE.findall(template)) <= set(intent.SCHEMA[name]), template


def test_copied_values_are_split_and_codes_are_shared() -> None:
    def written(answers: list[str]) -> set[tuple[str, str]]:
        return {pair for answer in answers for pair in json.loads(answer)["slots"].items()}

    train = written([row["messages"][1]["content"] for row in TRAIN])
    test = written([row["raw_answers"][0] for row in TEST])
    assert {slot for slot, _ in train & test} <= set(intent.CODED)
    assert {pair for pair in test if pair[0] in intent.CODED} <= train  # every code that test asks for was taught
    assert set(intent.TRAINED_INTENTS) == {json.loads(row["raw_answers"][0])["intent"] for row in TEST}


def test_own_reference_scores_one_and_a_wrong_slot_or_intent_scores_zero() -> None:
    for row in TEST:
        reference = row["raw_answers"][0]
        assert score_intent(f" {reference}", row) == 1.0
        answer = json.loads(reference)
        slot = sorted(answer["slots"])[0]
        wrong = {**answer, "slots": {**answer["slots"], slot: "nothing"}}
        assert score_intent(json.dumps(wrong), row) == 0.0
        assert score_intent(json.dumps({**answer, "intent": "Other"}), row) == 0.0
        assert score_intent(json.dumps({**answer, "slots": {}}), row) == 0.0
        assert score_intent("", row) == 0.0


def test_values_are_copied_or_coded_as_the_utterance_says() -> None:
    for row in TRAIN[:1500]:
        utterance = row["messages"][0]["content"]
        for slot, value in json.loads(row["messages"][1]["content"])["slots"].items():
            if slot in intent.CODED:
                assert any(said in utterance for said, code in intent.CODED[slot].items() if code == value)
            else:
                assert value in utterance


def test_rows_stay_short() -> None:
    assert max(len(user) for user in users(TRAIN)) <= 350
    assert max(len(row["messages"][1]["content"]) for row in TRAIN) <= 160


def test_pretraining_text_never_shows_an_answer() -> None:
    coded = {code for codes in intent.CODED.values() for code in codes.values() if code.isupper()}
    for text in islice(intent.documents(random.Random(5)), 3000):
        assert '"intent"' not in text
        assert '"slots"' not in text
        assert not any(f'"{code}"' in text for code in coded)
        assert not any(name in text for name in intent.SCHEMA)
