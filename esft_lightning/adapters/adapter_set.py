"""Several adapters on one base, one of them in use: switching swaps references, no weight is copied.

Every adapter keeps its own parts (banks of experts, LoRA layers, replaced parameters); the base's weights are shared
and never written to.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from esft_lightning.adapters import load_adapter, remove_adapter
from esft_lightning.moe import ExpertBank, banks, device_of, find_moe_layers
from esft_lightning.moe.two_bank import place_banks, refuse_save_pretrained
from esft_lightning.strategies.lora import lora_settings


@dataclass
class _Parts:
    """What one adapter puts on the base.

    Attributes:
        state: The record that `load_adapter` left on the model, by which `remove_adapter` takes the adapter off.
        banks: Trained experts by layer.
        replaced: Parameters that are trained in place, by name.
        wrappers: peft's layers, by the name of the module that they wrap.
        lora: What LoRA was attached with.
    """

    state: Any
    banks: dict[int, ExpertBank]
    replaced: dict[str, Tensor]
    wrappers: dict[str, nn.Module]
    lora: dict[str, Any] | None

    def tensors(self) -> list[Tensor]:
        """Every tensor of the adapter's own."""
        banks = [parameter for bank in self.banks.values() for parameter in bank.parameters()]
        factors = [p for w in self.wrappers.values() for name, p in w.named_parameters() if "lora_" in name]
        return [*banks, *factors, *self.replaced.values()]


class AdapterSet:
    """Adapters by name on one base.

    Example:
        adapters = AdapterSet(load_model("tiny"))
        adapters.load("law", "runs/law/adapter")
        adapters.load("translation", "runs/translation/adapter")
        adapters.use("law")  # from here on the model answers with it
        adapters.use(None)   # the bare base

    Attributes:
        model: The base, with the adapter in use on it.
        active: Name of the adapter in use; None where the base is bare.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Take a bare base.

        Args:
            model: The base; from here on only this set puts adapters on it.

        Raises:
            ValueError: If there is an adapter on it already.
        """
        if getattr(model, "_esft_adapter", None) is not None or next(banks(model), None) is not None:
            raise ValueError("the model carries an adapter already; call remove_adapter(model) first")
        self.model = model
        self.active: str | None = None
        self._adapters: dict[str, _Parts] = {}

    @property
    def names(self) -> list[str]:
        """Names of the loaded adapters, in the order in which they came."""
        return list(self._adapters)

    def load(self, name: str, folder: str | Path, *, force: bool = False) -> None:
        """Read an adapter folder and keep it at hand; the one in use stays in use.

        Args:
            name: What to call it.
            folder: The adapter folder.
            force: Load it even if it was trained on another base, as long as every shape fits.

        Raises:
            AdapterError: If the folder does not fit the base; nothing changes then.
            ValueError: If there is one of that name.
        """
        if name in self._adapters:
            raise ValueError(f"there is an adapter {name!r} already; remove it first, or choose another name")
        before = self.active
        self.use(None)
        try:
            load_adapter(self.model, folder, force=force)
            self._adapters[name] = _parts_on(self.model)
        finally:
            remove_adapter(self.model)
            self.use(before)

    def use(self, name: str | None) -> PreTrainedModel:
        """Put an adapter to use in place of the one before.

        Args:
            name: Its name; None leaves the bare base.

        Returns:
            The model.

        Raises:
            KeyError: If there is none of that name.
        """
        if name is not None and name not in self._adapters:
            raise KeyError(f"there is no adapter {name!r}; loaded: {', '.join(self._adapters) or 'none'}")
        if name != self.active:
            remove_adapter(self.model)
            self.active = None
            if name is not None:
                _put(self.model, self._adapters[name])
                self.active = name
        return self.model

    def remove(self, name: str) -> None:
        """Forget an adapter; if it was in use, the base is bare again.

        Raises:
            KeyError: If there is none of that name.
        """
        if name not in self._adapters:
            raise KeyError(f"there is no adapter {name!r}; loaded: {', '.join(self._adapters) or 'none'}")
        if name == self.active:
            self.use(None)
        del self._adapters[name]

    def bytes(self, name: str) -> int:
        """Memory that an adapter's own tensors take."""
        return sum(tensor.nbytes for tensor in self._adapters[name].tensors())


def _parts_on(model: PreTrainedModel) -> _Parts:
    """The parts of the adapter that is on a model."""
    state: Any = model._esft_adapter
    wrappers = {
        name: model.get_submodule(name)
        for name, module in model.named_modules()
        if isinstance(module, BaseTunerLayer) and not name.endswith(".base_layer")
    }
    replaced = {name: model.get_parameter(name).data for name in state.replaced}
    return _Parts(state, dict(banks(model)), replaced, wrappers, lora_settings(model))


def _put(model: PreTrainedModel, parts: _Parts) -> None:
    """Put the parts of an adapter on a bare model, on the devices where the model is now."""
    object.__setattr__(model, "_esft_adapter", parts.state)
    if parts.banks:
        layer_of = {id(entry.experts): entry.layer for entry in find_moe_layers(model)}
        place_banks(
            model,
            {layer: bank.expert_ids for layer, bank in parts.banks.items()},
            lambda experts, _: parts.banks[layer_of[id(experts)]].to(device_of(experts)),
        )
    for name, value in parts.replaced.items():
        parameter = model.get_parameter(name)
        parts.state.replaced[name], parts.replaced[name] = parameter.data, value.to(parameter.device)
        parameter.data = parts.replaced[name]
    if parts.lora is not None:
        object.__setattr__(model, "_esft_lora", parts.lora)
        refuse_save_pretrained(model)
    for name, wrapper in parts.wrappers.items():
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, wrapper)
