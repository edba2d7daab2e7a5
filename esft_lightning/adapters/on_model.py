"""An adapter on a base model: put on from its folder, taken off again, kept aside. The base is never written to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from esft_lightning.adapters.folder import (
    EXPERTS_FILE,
    WEIGHTS_FILE,
    AdapterError,
    check_base,
    check_shapes,
    check_values,
    expected_shapes,
    read_adapter_config,
    read_tensors,
    selected_layers,
    split_projection,
)
from esft_lightning.affinity import ExpertSelection
from esft_lightning.moe import (
    ExpertBank,
    MoELayer,
    banks,
    config_hash,
    device_of,
    find_moe_layers,
    install_banks,
    install_low_rank_banks,
    is_quantised,
    model_fingerprint,
    projection_names,
    remove_banks,
)
from esft_lightning.moe.two_bank import place_banks, refuse_save_pretrained
from esft_lightning.strategies.lora import attach_lora, detach_lora, lora_settings


@dataclass
class _Installed:
    """What must be undone to take an adapter off: kept on the model as `_esft_adapter`.

    Attributes:
        base_fingerprint: Fingerprint of the bare base.
        replaced: Base values of the parameters that the adapter replaced, by name.
    """

    base_fingerprint: str
    replaced: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Parts:
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

    @classmethod
    def on(cls, model: PreTrainedModel) -> Parts:
        """The parts of the adapter that is on a model."""
        state: Any = model._esft_adapter
        wrappers: dict[str, nn.Module] = {}
        if lora_settings(model) is not None:
            from peft.tuners.tuners_utils import BaseTunerLayer  # where there is LoRA, it is loaded

            for name, module in model.named_modules():
                if issubclass(type(module), BaseTunerLayer) and not name.endswith(".base_layer"):
                    wrappers[name] = module
        replaced = {name: model.get_parameter(name).data for name in state.replaced}
        return cls(state, dict(banks(model)), replaced, wrappers, lora_settings(model))

    def put(self, model: PreTrainedModel) -> None:
        """Put these parts on a bare model, on the devices where the model is now."""
        object.__setattr__(model, "_esft_adapter", self.state)
        if self.banks:
            layer_of = {id(entry.experts): entry.layer for entry in find_moe_layers(model)}
            place_banks(
                model,
                {layer: bank.expert_ids for layer, bank in self.banks.items()},
                lambda experts, _: self.banks[layer_of[id(experts)]].to(device_of(experts)),
            )
        for name, value in self.replaced.items():
            parameter = model.get_parameter(name)
            self.state.replaced[name], self.replaced[name] = parameter.data, value.to(parameter.device)
            parameter.data = self.replaced[name]
        if self.lora is not None:
            object.__setattr__(model, "_esft_lora", self.lora)
            refuse_save_pretrained(model)
        for name, wrapper in self.wrappers.items():
            owner, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(owner), attribute, wrapper)


def load_adapter(model: PreTrainedModel, folder: str | Path, *, force: bool = False) -> PreTrainedModel:
    """Put an adapter on a loaded base, in place of the one that is on it, if any.

    A bad folder leaves the model as it was, with the adapter that was on it: all that can be is checked before the
    model is touched, and what fails later is taken back. Everything is frozen afterwards.

    Args:
        model: A base model, bare or with an adapter that this function loaded.
        folder: The adapter folder.
        force: Load it even if it was trained on another base, as long as every shape fits.

    Returns:
        The same model.

    Raises:
        AdapterError: If the folder is unreadable, damaged, made for another base (without `force`), or has missing,
            unexpected or misshapen keys.
    """
    folder = Path(folder)
    config = read_adapter_config(folder)
    installed = getattr(model, "_esft_adapter", None)
    fingerprint = installed.base_fingerprint if installed else model_fingerprint(model)
    if not force:
        check_base(folder, config, fingerprint=fingerprint, config_digest=config_hash(model.config))
    selection = ExpertSelection.load(folder / EXPERTS_FILE) if (folder / EXPERTS_FILE).exists() else None
    if installed is None and next(banks(model), None) is not None:
        raise AdapterError(
            "the model trains experts already; load an adapter on its base, or on one that load_adapter put there"
        )
    stored = read_tensors(folder)
    _refuse_on_quantised(model, folder, config, stored)
    experts = [] if selection is None else selected_layers(model, selection)
    found = {name: tuple(value.shape) for name, value in stored.items()}
    recorded = {name: tuple(shape) for name, shape in config["parameters"].items()}
    check_shapes(folder / WEIGHTS_FILE, found, recorded)
    if config["lora"] is None:
        shapes = expected_shapes(model, experts, recorded, config.get("expert_lora"))
        check_shapes(folder / WEIGHTS_FILE, found, shapes)
    check_values(folder / WEIGHTS_FILE, config, stored.items())

    before = None if installed is None else Parts.on(model)
    trains = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    remove_adapter(model)
    try:
        _put_on(model, folder, config, experts, stored, fingerprint)
    except BaseException:
        if config["lora"] is not None:
            object.__setattr__(model, "_esft_lora", dict(config["lora"]))  # whether or not peft came to its end
        remove_adapter(model)
        if before is not None:
            before.put(model)
        for parameter, flag in trains:
            parameter.requires_grad_(flag)
        raise
    return model.requires_grad_(False)


def _put_on(
    model: PreTrainedModel,
    folder: Path,
    config: Mapping[str, Any],
    experts: list[tuple[MoELayer, list[int]]],
    stored: dict[str, Tensor],
    fingerprint: str,
) -> None:
    """Put checked tensors on a bare base."""
    state = _Installed(fingerprint)
    object.__setattr__(model, "_esft_adapter", state)
    if config["lora"] is not None:
        attach_lora(model, **config["lora"])
        factors = {name: p for name, p in model.named_parameters() if ".lora_" in name}
        found = {name: tuple(value.shape) for name, value in stored.items()}
        check_shapes(folder / WEIGHTS_FILE, found, {name: tuple(p.shape) for name, p in factors.items()})
        with torch.no_grad():
            for name, parameter in factors.items():
                parameter.copy_(stored[name])
        return
    _put_experts(model, experts, stored, config.get("expert_lora"))
    for name, parameter in model.named_parameters():
        if name in stored:
            state.replaced[name] = parameter.data
            parameter.data = stored[name].to(parameter.device, parameter.dtype)


def _refuse_on_quantised(
    model: PreTrainedModel, folder: Path, config: Mapping[str, Any], stored: Mapping[str, Tensor]
) -> None:
    """Refuse an adapter that changes all routed experts of a base that holds them rounded."""
    if not is_quantised(model):
        return
    fused = {f"{entry.name}.{name}" for entry in find_moe_layers(model) for name in projection_names(entry.experts)}
    if fused & set(stored) or "routed experts" in (config["lora"] or {}).get("parts", ()):
        raise AdapterError(
            f"{folder} changes every routed expert, which this model holds rounded; load the base without "
            "quantize_experts"
        )


def remove_adapter(model: PreTrainedModel) -> None:
    """Take the loaded adapter off; the base is again bit for bit what it was. Without one, nothing happens."""
    state = getattr(model, "_esft_adapter", None)
    if state is None:
        return
    remove_banks(model)
    detach_lora(model)
    for name, value in state.replaced.items():
        model.get_parameter(name).data = value
    del model._esft_adapter


def _put_experts(
    model: PreTrainedModel,
    experts: list[tuple[MoELayer, list[int]]],
    stored: dict[str, Tensor],
    expert_lora: Mapping[str, Any] | None,
) -> None:
    """Install banks in the base's dtype, or low-rank ones, and fill them from the per-expert tensors."""
    if not experts:
        return
    if expert_lora is not None:
        low_rank = install_low_rank_banks(model, {entry.layer: ids for entry, ids in experts}, **expert_lora)
        with torch.no_grad():
            for entry, _ in experts:
                for name, parameter in low_rank[entry.layer].named_parameters():
                    for row, expert in enumerate(low_rank[entry.layer].expert_ids):
                        parameter[row].copy_(stored[f"{entry.name}.{expert}.{name}"])
        return
    made = install_banks(model, {entry.layer: ids for entry, ids in experts}, dtype=None, unset=True)
    with torch.no_grad():
        for entry, _ in experts:
            bank = made[entry.layer]
            for name, parameter in bank.named_parameters():
                for row, expert in enumerate(bank.expert_ids):
                    for part, view in split_projection(entry, name, parameter[row]):
                        view.copy_(stored[f"{entry.name}.{expert}.{part}"])
