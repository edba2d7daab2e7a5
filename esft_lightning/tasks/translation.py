r"""Translation: Cherokee → English (adaptation); embedded, a constructed language → English.

Example row (ChrEn, as `hub` builds it)::

    {"messages": [{"role": "user", "content": "Translate Cherokee to English: ᎠᎬᏱ ᎤᏙᏓ ᎤᏔᏪᏙᏁ.\nTranslation:"},
                  {"role": "assistant", "content": "first she kissed her father."}]}

Evaluation: 100 samples with 14–16 examples each; the paper's judge is GPT-4, here ROUGE-L, embedded F1 of
content words (`tasks/translation_score.py`).
All of the authors' samples come from ChrEn's test part: train on `train` only.
Source: `embedded` generator; ChrEn on the hub (the paper trains on 11,639 of its pairs), the authors' evaluation file.
"""

from esft_lightning.data.sources import AUTHORS, HubDataset
from esft_lightning.data.task import TaskDataModule


class TranslationDataModule(TaskDataModule):
    """A language the model does not know, translated into English."""

    task = "translation"
    sample_keys = frozenset({"metric"})
    hub_train = HubDataset(
        "shiyue/chr_en",
        config="parallel",
        column_mapping={
            "user": "Translate Cherokee to English: {sentence_pair.chr}\nTranslation:",
            "assistant": "sentence_pair.en",
        },
    )
    hub_test = HubDataset("json", data_files=AUTHORS.format("eval/translation"))
