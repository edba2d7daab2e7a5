"""Run a program against one test, in the sandbox."""

from esft_lightning.metrics.sandbox import Job, Limits, Verdict, run_jobs


def verdict(code: str, test: str) -> Verdict:
    """The verdict on a program by one test; its function is called `f`."""
    return run_jobs([Job(code, [test], "f")], Limits(wall_seconds=20, cpu_seconds=2))[0]
