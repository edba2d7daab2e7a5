"""The tasks of the paper: a file with the rows of each, one with its score, and what rote earns on them.

Names load on first use.
"""

from esft_lightning.first_use import on_first_use

_HOMES = {
    "MathDataModule": "math",
    "CodeDataModule": "code",
    "IntentDataModule": "intent",
    "SummaryDataModule": "summary",
    "LawDataModule": "law",
    "TranslationDataModule": "translation",
    "TaskScore": "task_score",
    "TASKS": "scorers",
    "batch_scorer": "scorers",
    "scorer": "scorers",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
