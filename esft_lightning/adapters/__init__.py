"""What a run trained, in memory and on disk: our folders, the authors' layout, merged; several on one base."""

from esft_lightning.first_use import on_first_use

_HOMES = {
    "AdapterSet": "adapter_set",
    "AdapterDtype": "folder",
    "AdapterError": "folder",
    "CONFIG_FILE": "folder",
    "EXPERTS_FILE": "folder",
    "WEIGHTS_FILE": "folder",
    "adapter_bytes": "folder",
    "adapter_tensors": "folder",
    "check_base": "folder",
    "check_shapes": "folder",
    "check_values": "folder",
    "expected_shapes": "folder",
    "load_adapter": "on_model",
    "read_adapter_config": "folder",
    "read_tensors": "folder",
    "remove_adapter": "on_model",
    "save_adapter": "folder",
    "selected_layers": "folder",
    "split_projection": "folder",
    "write_adapter": "folder",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = on_first_use(__name__, _HOMES)
