"""Task data: rows → chat text → tokens → packed rows → batches. Knows no model and no strategy.

Names are loaded on first use, so that importing this package starts no heavy library.
"""

from esft_lightning.first_use import on_first_use

_HOMES = {
    "TaskDataModule": "task",
    "DataError": "rows",
    "PackedLoader": "loader",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
