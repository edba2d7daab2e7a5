"""Where a class is that configurations of earlier versions name by another path."""

from __future__ import annotations

_ROOMS = {  # from the most particular on
    "esft_lightning.data.code": "esft_lightning.tasks",
    "esft_lightning.data.intent": "esft_lightning.tasks",
    "esft_lightning.data.law": "esft_lightning.tasks",
    "esft_lightning.data.math": "esft_lightning.tasks",
    "esft_lightning.data.summary": "esft_lightning.tasks",
    "esft_lightning.data.translation": "esft_lightning.tasks",
    "esft_lightning.data": "esft_lightning.tasks",
    "esft_lightning.callbacks": "esft_lightning.training.callbacks",
    "esft_lightning.parallel": "esft_lightning.training.engines",
    "esft_lightning.run_folder": "esft_lightning.training.run_folder",
    "esft_lightning.run_logger": "esft_lightning.training.run_logger",
    "esft_lightning.module": "esft_lightning.training.module",
}


def present_path(class_path: str) -> str | None:
    """The path of a class that was once at another.

    Args:
        class_path: Such as `esft_lightning.callbacks.RoutingMonitor`.

    Returns:
        Where it is now; None for a path that never was one of ours.
    """
    for old, new in _ROOMS.items():
        if class_path.startswith(f"{old}."):
            rest = class_path.removeprefix(f"{old}.")
            return f"{new}.{rest.rpartition('.')[2] if new == 'esft_lightning.tasks' else rest}"
    return None
