"""An adapter in other forms: merged into its base, in the authors' layout and back. Trains nothing, loads no model."""

from esft_lightning.formats.base_checkpoint import BaseCheckpoint, CheckpointError, skeleton
from esft_lightning.formats.merge import merge_adapter
from esft_lightning.formats.official import export_adapter, import_adapter, official_shapes

__all__ = [
    "BaseCheckpoint",
    "CheckpointError",
    "export_adapter",
    "import_adapter",
    "merge_adapter",
    "official_shapes",
    "skeleton",
]
