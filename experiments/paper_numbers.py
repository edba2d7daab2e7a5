"""The paper's own numbers (arXiv 2407.01906v2), to stand beside ours. Scores 0–100.

The paper tests math on MATH and GSM8K and code on HumanEval and MBPP; a task's number here is the mean of its two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

TASKS = ("math", "code", "intent", "summary", "law", "translation")

_TABLE_1 = {
    "base": (19.6, 55.9, 42.1, 44.6, 16.8, 58.6, 17.1, 14.5),
    "FFT": (23.4, 66.4, 42.1, 42.2, 78.8, 69.4, 47.0, 38.4),
    "LoRA": (20.6, 58.9, 39.6, 44.8, 67.8, 64.7, 39.7, 23.1),
    "ESFT-Token": (22.6, 66.0, 41.5, 42.6, 75.6, 65.4, 45.7, 36.2),
    "ESFT-Gate": (23.2, 64.9, 43.3, 41.8, 78.6, 65.8, 49.1, 35.2),
}
_TABLE_4 = {
    "random (Token)": (-1.0, -3.7, -2.5, 0.2, -2.6, -1.7, 1.3, -13.5),
    "random (Gate)": (-1.7, -3.2, -4.3, 1.6, -5.0, 0.3, -2.9, -20.4),
}
_TABLE_7 = {
    "relevant + shared": (23.8, 65.7, 40.2, 43.8, 80.4, 67.3, 42.4, 35.1),
    "shared": (22.7, 64.5, 37.2, 44.0, 73.6, 68.3, 42.7, 26.0),
    "shared + non-expert": (23.4, 66.6, 41.5, 44.4, 81.0, 66.7, 39.0, 29.5),
    "relevant + shared + non-expert": (24.8, 66.0, 42.1, 43.2, 82.2, 69.5, 46.4, 32.2),
}
_TABLE_8 = {
    "base": (19.6, 55.9, 42.1, 44.6),
    "FFT": (15.1, 40.3, 30.2, 40.6),
    "LoRA": (11.8, 36.1, 27.9, 36.6),
    "ESFT-Token": (19.4, 55.2, 39.5, 44.8),
    "ESFT-Gate": (19.5, 55.1, 39.3, 45.3),
}
_TABLE_9 = {
    "FFT": (26.1, 70.4, 51.2, 42.6, 78.8, 72.8, 45.6, 34.4),
    "LoRA": (21.8, 57.8, 42.1, 42.6, 78.2, 66.4, 46.0, 21.8),
    "ESFT-Token": (25.2, 64.8, 42.1, 43.8, 78.0, 67.4, 47.2, 31.9),
    "ESFT-Gate": (24.1, 64.9, 42.1, 44.6, 77.2, 68.4, 43.6, 32.8),
}


def by_task(eight: Sequence[float]) -> dict[str, float]:
    """The paper's eight columns as our six tasks."""
    math, code = (eight[0] + eight[1]) / 2, (eight[2] + eight[3]) / 2
    return dict(zip(TASKS, (math, code, *eight[4:]), strict=True))


TABLE_1: Mapping[str, Mapping[str, float]] = {label: by_task(row) for label, row in _TABLE_1.items()}
"""Label → task → specialised score, with general data mixed in."""
TABLE_4: Mapping[str, Mapping[str, float]] = {label: by_task(row) for label, row in _TABLE_4.items()}
"""Random experts − ESFT, by task."""
TABLE_9: Mapping[str, Mapping[str, float]] = {label: by_task(row) for label, row in _TABLE_9.items()}
"""As Table 1, without general data."""
TABLE_7: Mapping[str, Mapping[str, float]] = {
    "all + shared + non-expert": TABLE_1["FFT"],
    "relevant": TABLE_1["ESFT-Token"],
    **{label: by_task(row) for label, row in _TABLE_7.items()},
    "base": TABLE_1["base"],
}
"""What trains → task → specialised score."""
TABLE_2: Mapping[str, tuple[float, float]] = {
    "base": (62.4, 0.0),
    "FFT": (58.8, 1.3),
    "LoRA": (59.1, 2.5),
    "ESFT-Token": (61.5, 1.1),
    "ESFT-Gate": (60.6, 2.3),
}
"""General ability with general data mixed in: mean of seven benchmarks, and its deviation over the training tasks."""
TABLE_10: Mapping[str, float] = {"base": 62.4, "FFT": 58.5, "LoRA": 55.0, "ESFT-Token": 62.3, "ESFT-Gate": 62.2}
"""As Table 2, without general data; the paper gives no deviations."""
TABLE_3: Mapping[str, tuple[float, float, float]] = {
    "all + shared + non-expert": (51.0, 58.8, 54.9),
    "relevant + shared": (49.8, 60.7, 55.3),
    "relevant": (49.4, 61.5, 55.4),
    "shared": (47.4, 61.2, 54.3),
    "shared + non-expert": (49.0, 60.0, 54.5),
    "relevant + shared + non-expert": (50.8, 60.3, 55.6),
    "base": (33.8, 62.4, 48.1),
}
"""What trains → specialised score (mean of the eight benchmarks, not of six tasks), general score, and their mean."""
TABLE_8: Mapping[str, Mapping[str, float]] = {
    label: {"math": (row[0] + row[1]) / 2, "code": (row[2] + row[3]) / 2} for label, row in _TABLE_8.items()
}
"""Math and code after training on the adaptation tasks, without general data."""
COST: Mapping[str, tuple[float, float | None]] = {
    "FFT": (28.5, 28.6),
    "LoRA": (16.5, None),
    "ESFT-Token": (19.8, 2.57),
    "ESFT-Gate": (20.9, 3.20),
}
"""Fig. 5: minutes on 16 A100, and gigabytes stored."""
