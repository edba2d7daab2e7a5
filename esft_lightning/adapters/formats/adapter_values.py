"""What an adapter makes of a base's parameters, one at a time: trained values in place, low-rank updates added.

The arithmetic is that of the adapter in use: peft's own for LoRA, the low-rank bank's for selected experts.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel

from esft_lightning.adapters import (
    EXPERTS_FILE,
    WEIGHTS_FILE,
    AdapterError,
    check_shapes,
    check_values,
    expected_shapes,
    read_adapter_config,
    selected_layers,
    split_projection,
)
from esft_lightning.affinity import ExpertSelection
from esft_lightning.moe import MoELayer, projection_names
from esft_lightning.strategies.lora import attach_lora

if TYPE_CHECKING:
    from peft.tuners.lora.layer import LoraLayer


class AdapterValues:
    """An adapter folder, checked against the model that it belongs to; tensors are read when they are asked for.

    Attributes:
        folder: The folder.
        config: Its `adapter_config.json`.
        selection: Its `expert_cfg.json`, where experts were selected.
        names: Parameters of the base that it changes.
        dtype: The dtype that it was trained over; None in older folders with LoRA factors.
    """

    def __init__(self, folder: str | Path, model: PreTrainedModel) -> None:
        """Check every key and shape.

        Args:
            folder: The adapter folder.
            model: The bare base, on the meta device.

        Raises:
            AdapterError: If the folder cannot be read or does not fit the model; the key is named.
        """
        self.folder = Path(folder)
        self.config = read_adapter_config(self.folder)
        path = self.folder / EXPERTS_FILE
        self.selection = ExpertSelection.load(path) if path.exists() else None
        self._file: Any = None  # open from the first tensor on: a header of thousands of names is not read each time
        self.shapes = _stored_shapes(self.folder / WEIGHTS_FILE)
        recorded = {name: tuple(shape) for name, shape in self.config["parameters"].items()}
        check_shapes(self.folder / WEIGHTS_FILE, self.shapes, recorded)
        check_values(self.folder / WEIGHTS_FILE, self.config, ((name, self.tensor(name)) for name in self.shapes))
        experts = [] if self.selection is None else selected_layers(model, self.selection)
        self._experts: dict[str, tuple[MoELayer, str, list[int]]] = {}
        self._lora: dict[str, tuple[str, LoraLayer]] = {}
        if self.config["lora"] is None:
            wanted = expected_shapes(model, experts, recorded, self.config.get("expert_lora"))
            check_shapes(self.folder / WEIGHTS_FILE, self.shapes, wanted)
            for entry, ids in experts:
                for name in projection_names(entry.experts):
                    self._experts[f"{entry.name}.{name}"] = (entry, name, ids)
        else:
            self._lora = self._attach(model)
        own = {name for name, _ in model.named_parameters()} & set(self.shapes)
        self.names = own | set(self._experts) | set(self._lora)
        self.dtype = self._trained_dtype()

    def tensor(self, name: str) -> Tensor:
        """One tensor of the adapter file."""
        if self._file is None:
            self._file = safe_open(self.folder / WEIGHTS_FILE, framework="pt")
        return self._file.get_tensor(name)

    @torch.no_grad()
    def value(self, name: str, base: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """A parameter with the adapter in it.

        Args:
            name: One of `names`.
            base: The base's value.
            dtype: What to compute it in; None takes the dtype that the adapter was trained over.

        Returns:
            The new value in that dtype; `base` is left as it is.
        """
        if name in self._lora:
            return self._with_lora(name, base.to(dtype or self.dtype or base.dtype))
        if name not in self._experts:
            return self._in_place(name, base, dtype)
        entry, projection, ids = self._experts[name]
        expert_lora = self.config.get("expert_lora")
        value = base.to(dtype or self.dtype or base.dtype, copy=True)
        for expert in ids:
            place = f"{entry.name}.{expert}"
            if expert_lora is None:
                for part, view in split_projection(entry, projection, value[expert]):
                    view.copy_(self.tensor(f"{place}.{part}"))
            elif f"{place}.{projection}_lora_A" in self.shapes:
                factors = (self.tensor(f"{place}.{projection}_lora_{factor}") for factor in "BA")
                value[expert] += expert_lora["scaling"] * torch.matmul(*factors).to(value.dtype)
        return value

    def _in_place(self, name: str, base: Tensor, dtype: torch.dtype | None) -> Tensor:
        """A parameter that was trained in its own place: as it is stored, but in no wider dtype than asked for."""
        if dtype is None and self.config.get("stored_dtype") == "float32":
            dtype = torch.promote_types(base.dtype, self.dtype or base.dtype)
        stored = self.tensor(name)
        return stored if dtype is None else stored.to(dtype)

    def _trained_dtype(self) -> torch.dtype | None:
        if "dtype" in self.config:
            return getattr(torch, self.config["dtype"])
        if self.config["lora"] is not None or self.config.get("expert_lora") is not None or not self.shapes:
            return None
        return self.tensor(next(iter(self.shapes))).dtype

    def _attach(self, model: PreTrainedModel) -> dict[str, tuple[str, LoraLayer]]:
        """Parameter → name and module of the peft layer that adapts it, on a copy of the model."""
        adapted = copy.deepcopy(model)
        attach_lora(adapted, **self.config["lora"])
        factors = {name: tuple(p.shape) for name, p in adapted.named_parameters() if ".lora_" in name}
        check_shapes(self.folder / WEIGHTS_FILE, self.shapes, factors)
        from peft.tuners.lora.layer import LoraLayer, ParamWrapper

        found: dict[str, tuple[str, LoraLayer]] = {}
        for name, module in adapted.named_modules():
            if isinstance(module, LoraLayer):
                parameter = module.parameter_name if isinstance(module, ParamWrapper) else "weight"
                found[f"{name.replace('.base_layer', '')}.{parameter}"] = (name, module)
        return found

    def _with_lora(self, name: str, base: Tensor) -> Tensor:
        """Base and update, the update made by the peft layer itself from this parameter's factors."""
        place, layer = self._lora[name]
        owner, parameter = layer.get_base_layer(), name.rpartition(".")[2]
        empty = owner._parameters[parameter]
        factors: list[tuple[nn.Module, Tensor]] = []
        try:
            owner._parameters[parameter] = nn.Parameter(base, requires_grad=False)
            for kind in ("lora_A", "lora_B"):
                for adapter, linear in getattr(layer, kind).items():
                    factors.append((linear, linear.weight))
                    stored = self.tensor(f"{place}.{kind}.{adapter}.weight").to(base.device)
                    linear.weight = nn.Parameter(stored, requires_grad=False)
            return (base + layer.get_delta_weight("default")).to(base.dtype)  # type: ignore[operator]
        finally:
            owner._parameters[parameter] = empty
            for linear, weight in factors:
                linear.weight = weight  # type: ignore[assignment]


def _stored_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor in a file, from its header."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{path} cannot be read: {error}") from error
