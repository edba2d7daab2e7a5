r"""Code: a specification, answered by a Python function (the paper's second enhancement task).

Example row::

    {"messages": [{"role": "user", "content": "Write a function calc(a) that returns a plus 17."},
                  {"role": "assistant", "content": "def calc(a):\n    return a + 17"}]}

Evaluation: pass@1, by running the answer against its tests, only when that is allowed (`metrics/code.py`); the paper's
sets are HumanEval and MBPP: `test_files` takes both as they are published, `hub` has HumanEval.
Source: `embedded` generator; the Python rows of evol-codealpaca on the hub (the paper's training data).
"""

from collections.abc import Mapping
from typing import Any

from esft_lightning.data.sources import HubDataset
from esft_lightning.data.task import TaskDataModule
from esft_lightning.metrics.code import code_sample, mbpp_sample


def is_python(record: Mapping[str, Any]) -> bool:
    """Whether a row of evol-codealpaca is about Python: its answer has a Python block, or its instruction says so."""
    return "```python" in record["output"].lower() or "python" in record["instruction"].lower()


class CodeDataModule(TaskDataModule):
    """Specifications of Python functions, scored by running the answer."""

    task = "code"
    hub_train = HubDataset("theblackcat102/evol-codealpaca-v1")
    hub_test = HubDataset("openai/openai_humaneval", split="test")

    def wants(self, record: Mapping[str, Any]) -> bool:
        """Of evol-codealpaca, the Python rows; every other training row."""
        return not {"instruction", "output"} <= set(record) or is_python(record)

    def adapt_sample(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Turn a row in HumanEval's or MBPP's form into an evaluation sample with a question, an answer and tests."""
        if {"code", "test_list"} <= set(record):
            return mbpp_sample(record)
        sample = code_sample(record)
        if "preamble" not in sample or "preamble" in record:
            return sample
        question = f"Complete this Python function:\n{record['prompt']}"
        return {**sample, "prompt": question, "raw_answers": [record["canonical_solution"]]}
