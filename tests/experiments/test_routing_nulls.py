"""Routing against its nulls: the statistics of profiles by hand, ranks among draws, and a small measurement."""

import json

import numpy as np
import pytest

from experiments import routing_nulls
from experiments.routing_nulls import STATISTICS, Comparison, compare, statistics_of


class Fixed:
    """A profile with given scores [L, E]."""

    def __init__(self, *rows):
        self.values = np.array(rows, dtype=float)

    def scores(self, kind):
        assert kind == "gate"
        return self.values


def test_statistics_of_tasks_with_experts_of_their_own():
    apart = {"one": Fixed([4, 4, 1, 1]), "two": Fixed([1, 1, 4, 4])}
    values = statistics_of((apart, apart), top_k=2)  # type: ignore[arg-type]
    assert values == pytest.approx({"same task": 2, "contrast": 2, "concentration": 0.8, "own share": 0.6})
    alike = {"one": Fixed([4, 4, 1, 1]), "two": Fixed([4, 4, 1, 1])}
    values = statistics_of((alike, alike), top_k=2)  # type: ignore[arg-type]
    assert values == pytest.approx({"same task": 2, "contrast": 0, "concentration": 0.8, "own share": 0})


@pytest.mark.parametrize(("trained", "verdict"), [(3.5, "above"), (0.5, "below"), (1.0, "inside"), (3.0, "inside")])
def test_a_value_is_beyond_a_null_only_above_every_draw(trained, verdict):
    assert Comparison("contrast", "any", trained, (1.0, 2.0, 3.0)).verdict == verdict


def test_every_statistic_is_compared_with_every_null():
    values = dict.fromkeys(STATISTICS, 2.0)
    rows = compare(values, {"a": [dict.fromkeys(STATISTICS, 1.0)] * 3, "b": [dict.fromkeys(STATISTICS, 3.0)]})
    assert [(row.statistic, row.null, row.verdict) for row in rows] == [
        *((statistic, "a", "above") for statistic in STATISTICS),
        *((statistic, "b", "below") for statistic in STATISTICS),
    ]
    assert rows[0].drawn == (1.0, 1.0, 1.0)


def test_the_embedded_base_is_measured_beside_its_nulls(tmp_path, capsys):
    output = tmp_path / "nulls"
    arguments = ["--tasks", "math", "law", "--tokens", "1024", "--draws", "2", "--output", str(output)]
    assert routing_nulls.main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.count("| own share |") == 2 and (output / "routing_nulls.json").exists()
    entries = json.loads((output / "routing_nulls.json").read_text())
    assert len(entries) == 2 * len(STATISTICS)
    for entry in entries:
        assert len(set(entry["drawn"])) == 2 or entry["statistic"] == "same task"  # two draws are two routers
        assert entry["trained"] not in entry["drawn"] or entry["statistic"] == "same task"


def test_what_cannot_be_measured_is_one_line(capsys):
    assert routing_nulls.main(["--tasks", "math"]) == 2
    assert capsys.readouterr().err.startswith("routing_nulls: 1 tasks")
