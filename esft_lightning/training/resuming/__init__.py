"""What a run takes up again from a checkpoint, or refuses: settings, place in the data, optimizer and schedule.

Lightning restores numbers; whether they mean the same in the run that loads them is seen here.
"""

from esft_lightning.training.resuming.data_place import count_anew, data_identity, go_on_in_data
from esft_lightning.training.resuming.epoch_ends import settle_epoch
from esft_lightning.training.resuming.optimizer import construction, keep_new_settings, settle_schedules
from esft_lightning.training.resuming.settings import CheckpointError, check_settings, settings_record
from esft_lightning.training.resuming.whole_windows import OpenWindow, count_step_once, validate_at_window_ends

__all__ = [
    "CheckpointError",
    "OpenWindow",
    "check_settings",
    "construction",
    "count_step_once",
    "count_anew",
    "data_identity",
    "go_on_in_data",
    "keep_new_settings",
    "settings_record",
    "settle_epoch",
    "settle_schedules",
    "validate_at_window_ends",
]
