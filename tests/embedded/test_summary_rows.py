"""The embedded summary task: the note says what the call means, not what it names."""

import re

import pytest
from task_rows_of import ROW_POOLS, assert_apart, pairs, rows

from esft_lightning.embedded.summary.lexicon import ACTIONS, DAYS, FAULTS, REMEDIES
from esft_lightning.embedded.summary.wordings import CORRECTIONS, FILLERS, TURNS
from esft_lightning.tasks.summary_score import UNDERSTOOD, parse_note, score_summary

LEXICON = {"fault": FAULTS, "remedy": REMEDIES, "action": ACTIONS}


@pytest.mark.parametrize("pool", ROW_POOLS)
def test_notes_say_what_is_said_last(pool):
    """Read each call again by the phrases of its pool: of two that are named, the second is meant."""
    named_twice = slips = 0
    for call, note in pairs("summary", pool):
        fields = parse_note(note)
        assert fields is not None
        agent = call.split("Agent: ")[-1]
        customer = call.removesuffix(agent)
        for field, lexicon in LEXICON.items():
            heard = {
                label: max((agent if field == "action" else customer).rfind(f" {phrase}") for phrase in phrases[pool])
                for label, phrases in lexicon.items()
            }
            named_twice += sum(place >= 0 for place in heard.values()) > 1
            assert heard[fields[field]] == max(heard.values()) >= 0, (field, call)
        assert fields["order"] in re.findall(r"\d{4}", customer)
        days = re.findall("|".join(DAYS), customer)
        assert fields["day"] == days[-1].lower()
        slips += len(days) > 1 or len(set(re.findall(r"\d{4}", customer))) > 1
    assert named_twice > 0.5 * len(pairs("summary", pool))
    assert slips > 0.5 * len(pairs("summary", pool))


def test_the_order_of_the_note_is_the_one_that_a_correction_leaves():
    for pool in ROW_POOLS:
        for call, note in pairs("summary", pool):
            for correction in CORRECTIONS[pool]:
                pattern = re.escape(correction).replace(r"\{wrong\}", r"(\d{4})").replace(r"\{right\}", r"(\d{4})")
                for wrong, right in re.findall(pattern, call):
                    assert f"Order {right}," in note and wrong not in note


def test_wordings_and_phrases_of_the_pools_are_disjoint():
    for kind, wordings in {**TURNS, "corrections": CORRECTIONS, "fillers": FILLERS}.items():
        assert_apart(wordings, kind)
    for lexicon in LEXICON.values():
        assert len(lexicon) >= 10  # the best constant label is right in one row of ten at most
        for label, phrases in lexicon.items():
            assert all(len(phrases[pool]) >= 2 for pool in phrases), label
            assert_apart(phrases, label)


def test_what_is_copied_earns_nothing_and_each_label_a_third():
    for row in rows("summary", "test")[:100]:
        note = row["raw_answers"][0]
        fields = parse_note(note)
        assert score_summary(note, row) == 1.0
        for field in UNDERSTOOD:
            other = next(label for label in LEXICON[field] if label != fields[field])
            assert score_summary(re.sub(rf"(: |by \w+\. Next: ){fields[field]}", rf"\g<1>{other}", note), row) < 0.7
        assert score_summary(note.replace(fields["order"], "1000"), row) == 0.0
