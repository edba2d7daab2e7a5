"""A model reads rows and leaves an affinity profile. Trains nothing; knows no task and no Trainer's callbacks."""

from esft_lightning.first_use import on_first_use

_HOMES = {
    "MEASURES": "contributions",
    "ContributionTap": "contributions",
    "find_grouping": "expert_grouping",
    "measure_affinity": "measurement",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
