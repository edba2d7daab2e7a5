"""The search for learning rates: what it runs, and which rate it stars."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from esft_lightning.comparison import RunResult
from experiments.learning_rates import specs_of, table_of

LOSSES = {("math", 3e-5): 0.2, ("math", 1e-4): 0.1, ("law", 3e-5): 0.1, ("law", 1e-4): 0.3}


@pytest.fixture
def results() -> list[RunResult]:
    found = []
    for task in ("math", "law"):
        base, *runs = specs_of(task, (3e-5, 1e-4), 100.0, "tiny", ("ESFTGate",))
        assert base.is_base
        for run, rate in zip(runs, (3e-5, 1e-4), strict=True):
            scores = {"task": 0.5, "general/average": 0.6}
            result = RunResult(run, "finished", "key", after=scores, learning_rate=100 * rate)
            found.append(replace(result, losses={"train": [], "validation": [[150, LOSSES[task, rate]]]}))
    return found


def _lines(results: list[RunResult]) -> list[str]:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(table_of(results, ("math", "law"), ("ESFTGate",)))
    return [line for line in console.export_text().splitlines() if "ESFTGate" in line]


def test_runs_differ_in_their_rate_alone() -> None:
    _, first, second = specs_of("law", (1e-5, 1e-4), 100.0, "tiny", ("LoRA",))
    assert first.strategy_args == {"learning_rate": 1e-5}
    assert second.strategy_args == {"learning_rate": 1e-4}
    assert first.learning_rate_scale == second.learning_rate_scale == 100.0
    changes = {"strategy_args": {}, "label": ""}
    assert first.with_changes(**changes) == second.with_changes(**changes)


def test_the_least_sum_of_losses_over_the_tasks_is_starred(results: list[RunResult]) -> None:
    small, large = _lines(results)
    assert "ESFTGate *" in small
    assert "3e-03" in small
    assert "0.300" in small
    assert "*" not in large
    assert "0.400" in large


def test_a_rate_that_is_not_there_for_every_task_is_left_out(results: list[RunResult]) -> None:
    assert len(_lines(results[:-1])) == 1
