"""What a run reads: a function of its seed, balanced, the same for runs of any length, real text four times at most."""

from collections import Counter

import pytest

from esft_lightning.embedded import packed_rows, real_text
from esft_lightning.embedded.corpus import OPENING
from esft_lightning.embedded.packed_rows import LENGTHS, SHORT, PackedRows, Row

BOS, EOS = 0, 1


def bytes_of(texts: list[str]) -> list[list[int]]:
    return [[3 + byte for byte in text.encode()] for text in texts]


@pytest.fixture(autouse=True)
def little_real_text(monkeypatch):
    """Forty chunks of 60 bytes a domain."""
    monkeypatch.setattr(
        real_text, "chunks", lambda domain, held_out=False: tuple(f"{domain} {n:02d}".ljust(60, ".") for n in range(40))
    )


def rows(seed: int = 0, **changes) -> PackedRows:
    return PackedRows(bytes_of, BOS, EOS, seed=seed, **changes)


def test_rows_follow_the_shares_of_opening_middle_and_stage(monkeypatch):
    middle, stage = {"math": 0.2, "code": 0.5, "law": 0.3}, {"math": 0.75, "code": 0.25}
    monkeypatch.setattr(packed_rows, "STAGE", stage)
    packed = rows(opening=100, stage_from=300, weights=middle)
    parts, lengths = [Counter(), Counter(), Counter()], [set(), set(), set()]
    for number, plan in enumerate(packed.plan(500)):
        part = (number >= 100) + (number >= 300)
        assert len(plan.rows) * plan.length == packed.batch_tokens
        lengths[part].add(plan.length)
        for row in plan.rows:
            parts[part][row.domain] += plan.length
    for part, shares in zip(parts, (OPENING, middle, stage), strict=True):
        assert set(part) <= set(shares)
        for domain in shares:
            assert part[domain] / part.total() == pytest.approx(shares[domain], abs=0.01)
    assert lengths == [set(SHORT), set(LENGTHS), set(LENGTHS)]


def test_a_longer_run_begins_as_a_shorter_one():
    short, long = list(rows(stage_from=30).plan(40)), list(rows(stage_from=90).plan(120))
    assert short[:30] == long[:30]
    assert short[30:] != long[30:40]
    assert list(rows(seed=1, stage_from=30).plan(40)) != short


def test_a_step_is_a_function_of_seed_and_number():
    packed = rows()
    plans = list(packed.plan(4))
    step = packed.step(3, plans[3])
    assert step.shape == (len(plans[3].rows), plans[3].length)
    assert (step == rows().step(3, plans[3])).all()
    assert (step[:, 0] == BOS).all()
    assert (rows(seed=1).step(3, plans[3]) != step).any() and (packed.step(2, plans[3]) != step).any()


def test_a_text_that_does_not_fit_waits_for_another_row(monkeypatch):
    """Few rows end in a long piece of a text, where most would if the text that comes next were always taken."""

    def cut() -> int:
        packed = rows(weights={"instructions": 1.0})
        ends = [packed.row(Row("instructions", 0), 1024, str(number)) for number in range(40)]
        assert {len(ids) for ids in ends} == {1024}
        return sum(ids[-1] != EOS and ids[::-1].index(BOS) > 1024 // 8 for ids in ends)

    waiting = cut()
    monkeypatch.setattr(packed_rows, "_TRIES", 0)
    assert 3 * waiting < cut() > 20


def test_real_text_is_read_in_whole_readings_and_at_most_four():
    packed = rows(weights={"source": 0.5, "reference": 0.5, "math": 0.0})
    counted: Counter[bytes] = Counter()
    given = Counter()
    for plan in packed.plan(12):
        for row in plan.rows:
            given[row.domain] += plan.length
    size = packed.real_tokens("source")
    assert size == 40 * 62
    assert size * 4 - 1536 < given["source"] <= size * 4  # and the rest went to math
    assert given["math"] == 12 * packed.batch_tokens - given["source"] - given["reference"]
    stream: list[int] = []
    for offset in range(0, 2 * size, 310):
        stream += packed.row(Row("source", offset), 311, "any")[1:]
    for start in range(0, 2 * size, 62):
        counted[bytes(stream[start : start + 62])] += 1
    assert set(counted.values()) == {2} and len(counted) == 40  # two readings, each of every chunk
    assert stream[:size] != stream[size:]  # in another order


def test_row_lengths_that_do_not_fill_a_step_are_refused():
    with pytest.raises(ValueError, match="batch_tokens=1000: expected a multiple of every row length, but not of"):
        rows(batch_tokens=1000)
