"""An adapter in other forms: merged into its base, in the authors' layout and back. Trains nothing, loads no model.

Names are loaded on first use, so that the verbs' help starts without torch.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "BaseCheckpoint": "esft_lightning.moe.base_checkpoint",
    "CheckpointError": "esft_lightning.moe.base_checkpoint",
    "export_adapter": "esft_lightning.adapters.formats.official",
    "import_adapter": "esft_lightning.adapters.formats.official",
    "merge_adapter": "esft_lightning.adapters.formats.merge",
    "official_shapes": "esft_lightning.adapters.formats.official",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_HOMES)}")
    return getattr(import_module(_HOMES[name]), name)
