"""Models larger than one device: frozen weights sharded over processes, or layers split over devices and offloaded.

Lightning strategies: `trainer.strategy: sharded_base` and `trainer.strategy: split_layers`.
"""

from esft_lightning.first_use import on_first_use

_HOMES = {
    "ShardedBaseStrategy": "sharded_base",
    "SplitLayersStrategy": "split_layers",
    "keeps_model_whole": "whole_models",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
