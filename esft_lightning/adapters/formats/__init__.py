"""An adapter in other forms: merged into its base, in the authors' layout and back. Trains nothing, loads no model.

Names are loaded on first use, so that the verbs' help starts without torch.
"""

from esft_lightning.first_use import on_first_use

_HOMES = {
    "export_adapter": "official",
    "import_adapter": "official",
    "merge_adapter": "merge",
    "official_shapes": "official",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
