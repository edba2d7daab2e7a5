r"""Summary: the transcript of a service call, turned into a note (adaptation).

Example row (the authors' form)::

    {"messages": [{"role": "user", "content": "请总结下面这段客服对话： 【坐席】您好， …\n总结："},
                  {"role": "assistant", "content": "客户反映流量超出，对费用有疑义，请相关部门处理。"}]}

Evaluation: 100 samples, one example each; the paper's judge is GPT-4, here fields or overlap (`summary_score.py`).
Source: `embedded` generator; the authors' JSONL (19,587 rows), which `hub` reads from their repository.
"""

from esft_lightning.data.sources import AUTHORS, HubDataset
from esft_lightning.data.task import TaskDataModule


class SummaryDataModule(TaskDataModule):
    """Call transcripts to notes."""

    task = "summary"
    hub_train = HubDataset("json", data_files=AUTHORS.format("train/summary"))
    hub_test = HubDataset("json", data_files=AUTHORS.format("eval/summary"))
