r"""Intent: an utterance to a home assistant, turned into JSON (adaptation).

Example row (the authors' file)::

    {"messages": [{"role": "user", "content": "请分析下面这句话的意图，并转化为json格式： 美国片播放一下\n答案："},
                  {"role": "assistant", "content": "{\"intent\": \"FilmTele-Play\", \"slots\": {…}}。"}]}

Evaluation: 500 samples with 16 examples each; intent and slots must be equal (`tasks/intent_score.py`).
Source: `embedded` generator; the authors' JSONL (7,280 rows), which `hub` reads from their repository.
"""

from esft_lightning.data.sources import AUTHORS, HubDataset
from esft_lightning.data.task import TaskDataModule


class IntentDataModule(TaskDataModule):
    """Utterances to JSON, scored by exact match of intent and slots."""

    task = "intent"
    hub_train = HubDataset("json", data_files=AUTHORS.format("train/intent"))
    hub_test = HubDataset("json", data_files=AUTHORS.format("eval/intent"))
