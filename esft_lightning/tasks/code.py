r"""Code: a specification, answered by a Python function (the paper's second enhancement task).

Example row::

    {"messages": [{"role": "user", "content": "Write a function calc(a) that returns a plus 17."},
                  {"role": "assistant", "content": "def calc(a):\n    return a + 17"}]}

Evaluation: pass@1, by running the answer against its tests, only when that is allowed (`code_score.py`); the paper's
sets are HumanEval and MBPP: `test_files` takes both as they are published, `hub` has HumanEval.
Source: `embedded` generator; the Python rows of evol-codealpaca on the hub (the paper's training data). Rows of your
own are taken whole.
"""

from collections.abc import Mapping
from typing import Any

from esft_lightning.data.sources import HubDataset
from esft_lightning.data.task import TaskDataModule
from esft_lightning.scoring.row_texts import texts
from esft_lightning.tasks.code_score import code_sample, mbpp_sample

EVOL_CODEALPACA = "theblackcat102/evol-codealpaca-v1"


def is_python(record: Mapping[str, Any]) -> bool:
    """Whether a row of evol-codealpaca is about Python: its answer has a Python block, or its instruction says so."""
    answer, question = (str(record.get(column)).lower() for column in ("output", "instruction"))
    return "```python" in answer or "python" in question


class CodeDataModule(TaskDataModule):
    """Specifications of Python functions, scored by running the answer."""

    task = "code"
    hub_train = HubDataset(EVOL_CODEALPACA)
    hub_test = HubDataset("openai/openai_humaneval", split="test")

    sample_keys = frozenset({"tests", "entry_point", "preamble", "test", "test_list", "code", "text"})

    def wants(self, record: Mapping[str, Any]) -> bool:
        """Of the task's own data set on the hub, the Python rows; every row of anybody's own data."""
        own = self.source != "hub" or self.hub is None or self.hub.id != EVOL_CODEALPACA
        return own or is_python(record)

    def adapt_sample(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Turn a row in HumanEval's or MBPP's form into an evaluation sample with a question, an answer and tests."""
        is_mbpp = {"code", "test_list"} <= set(record)
        for column in ("prompt", "text", "code", "test", "entry_point", "canonical_solution"):
            value = record.get(column, "")
            if value is None and not (column == "text" or (column == "prompt" and is_mbpp)):
                raise ValueError(f"column {column!r} is null; expected a text")
            if not isinstance(value, str | None):
                raise ValueError(f"column {column!r} is a {type(value).__name__}; expected a text")
        if is_mbpp:
            if not (record.get("text") or record.get("prompt")):
                raise ValueError("an MBPP row needs 'text' or 'prompt'")
            return mbpp_sample(record)
        sample = code_sample(record)
        if "tests" in sample:
            sample["tests"] = texts(sample, "tests")
        if "preamble" not in sample or "preamble" in record:
            return sample
        question = f"Complete this Python function:\n{record['prompt']}"
        answers = {"raw_answers": [record["canonical_solution"]]} if "canonical_solution" in record else {}
        return {**sample, "prompt": question, **answers}
