"""An adapter in other forms: merged into its base, in the authors' layout and back. Trains nothing, loads no model."""

from esft_lightning.formats.base_checkpoint import BaseCheckpoint, CheckpointError, skeleton
from esft_lightning.formats.merge import merge_adapter

__all__ = ["BaseCheckpoint", "CheckpointError", "merge_adapter", "skeleton"]
