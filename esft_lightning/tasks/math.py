r"""Math: word problems with worked steps (the paper's first enhancement task).

Example row (GSM8K and MATH are taken as they are published, see `formats`)::

    {"messages": [{"role": "user", "content": "Weng earns $12 an hour. She worked 50 minutes …"},
                  {"role": "assistant", "content": "12/60 = 0.2 a minute. 0.2 x 50 = 10.\n#### 10"}]}

Evaluation: equality of the final answer (`tasks/math_score.py`); the paper's sets are MATH and GSM8K, `hub` has GSM8K.
Source: `embedded` generator; MetaMathQA on the hub (395k rows, the paper's training data).
"""

from esft_lightning.data.sources import HubDataset
from esft_lightning.data.task import TaskDataModule


class MathDataModule(TaskDataModule):
    """Math word problems, scored by the final answer."""

    task = "math"
    hub_train = HubDataset("meta-math/MetaMathQA")
    hub_test = HubDataset("openai/gsm8k", split="test", config="main")
