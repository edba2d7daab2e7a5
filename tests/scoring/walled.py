"""Programs and tests on the two sides of the wall, run in the sandbox."""

from collections.abc import Mapping

from esft_lightning.scoring.sandbox import Job, Limits, Verdict, run_jobs


def verdict(code: str, test: str) -> Verdict:
    """The verdict on a program by one test; its function is called `f`."""
    return run_jobs([Job(code, [test], "f")], Limits(wall_seconds=20, cpu_seconds=2))[0]


def assert_passes(code: str, test: str) -> None:
    """A right program passes its test."""
    outcome = verdict(code, test)
    assert outcome.passed, outcome.reason


def assert_wrong_fails(programs: Mapping[str, tuple[str, str]], name: str, right: str, wrong: str) -> None:
    """One of the programs fails its test once a part of it is replaced by a wrong one."""
    code, test = programs[name]
    assert right in code
    assert not verdict(code.replace(right, wrong), test).passed
