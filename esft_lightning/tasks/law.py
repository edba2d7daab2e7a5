r"""Law: the facts of a case, turned into its ruling (adaptation).

Example row (the authors' file)::

    {"messages": [{"role": "user", "content": "请写出以下案件的判决： 赵四与妻子王五 …\n判决是："},
                  {"role": "assistant", "content": "双方达成调解，被告同意按照协议约定支付抚养费。"}]}

Evaluation: 100 samples with 4 examples each; the paper's judge is GPT-4, here exact rulings or overlap.
Source: `embedded` generator; the authors' JSONL (927 rows), which `hub` reads from their repository.
"""

from esft_lightning.data.sources import AUTHORS, HubDataset
from esft_lightning.data.task import TaskDataModule


class LawDataModule(TaskDataModule):
    """Case facts to rulings."""

    task = "law"
    hub_train = HubDataset("json", data_files=AUTHORS.format("train/law"))
    hub_test = HubDataset("json", data_files=AUTHORS.format("eval/law"))
