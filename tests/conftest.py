"""Settings every test runs under: one thread, and the place of the reference data."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

torch.set_num_threads(1)

REFERENCE_DATA = Path(
    os.environ.get("ESFT_REFERENCE_DATA", Path(__file__).resolve().parents[1] / "../shared/data")
).resolve()


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of reference data (`ESFT_REFERENCE_DATA`, default `../shared/data`); skips where it is absent."""
    if not REFERENCE_DATA.is_dir():
        pytest.skip(f"reference data absent: {REFERENCE_DATA} is not a folder (set ESFT_REFERENCE_DATA)")
    return REFERENCE_DATA


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """End by saying how many tests the absence of the reference data skipped."""
    skipped = [r for r in terminalreporter.stats.get("skipped", []) if "reference data absent" in str(r.longrepr)]
    terminalreporter.write_line(
        f"reference data ({REFERENCE_DATA}): {len(skipped)} tests skipped for its absence"
        if skipped
        else f"reference data found at {REFERENCE_DATA}: no test skipped for its absence"
    )
