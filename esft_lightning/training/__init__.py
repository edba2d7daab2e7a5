"""All that is Lightning: the module that fine-tunes, its callbacks, checkpoints, what a run takes up again, engines."""

from esft_lightning.first_use import on_first_use

_HOMES = {
    "ExpertFineTuner": "module",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
