"""LoRA through peft, on attention, dense MLPs, shared and routed experts (the paper's baseline)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn
from transformers import PreTrainedModel

from esft_lightning.affinity import ExpertSelection
from esft_lightning.errors import SettingError
from esft_lightning.moe.two_bank import allow_save_pretrained, refuse_save_pretrained
from esft_lightning.moe.widened_arithmetic import WidenedLinear
from esft_lightning.strategies.base import FineTuningStrategy, NothingToTrainError
from esft_lightning.strategies.groups import GROUPS, Group, group_parameters, training_table

_ADAPTABLE: tuple[Group, ...] = ("attention", "dense MLP", "shared experts", "routed experts")


class LoRA(FineTuningStrategy):
    """Low-rank adapters on everything but router, norms, embeddings and head.

    The paper: rank 8, scaling 2, rate 1e-4. Routed experts get one pair of factors per expert and fused projection.
    """

    default_learning_rate: ClassVar[float] = 1e-4
    opens_whole_parts = True

    def __init__(
        self,
        rank: int = 8,
        scaling: float = 2.0,
        parts: Sequence[str] = _ADAPTABLE,
        learning_rate: float | None = None,
    ) -> None:
        """Set rank and reach.

        Args:
            rank: Rank of every pair of factors.
            scaling: Factor on the low-rank update (peft's alpha / rank).
            parts: Parts of the model to adapt: attention, dense MLP, shared experts, routed experts.
            learning_rate: Learning rate; None takes the paper's 1e-4.

        Raises:
            ValueError: If the rank is below 1 or a part cannot be adapted.
        """
        super().__init__(learning_rate)
        if rank < 1:
            raise SettingError(f"rank must be at least 1, got {rank}")
        if unknown := sorted(set(parts) - set(_ADAPTABLE)):
            raise SettingError(f"LoRA cannot adapt {unknown}; expected some of {list(_ADAPTABLE)}")
        self.rank = rank
        self.scaling = scaling
        self.parts = tuple(parts)
        self.trains_fused_experts = "routed experts" in parts

    def make_trainable(self, model: PreTrainedModel, selection: ExpertSelection | None = None) -> None:
        """Attach the factors with peft, and count that every part asked for was reached."""
        wanted = {part for targets in lora_targets(model, self.parts) for part in targets.values()}
        attach_lora(model, self.rank, self.scaling, self.parts)
        reached = {row.group: row for row in training_table(model)}
        missed = [part for part in self.parts if part in wanted and not reached[part].trained]  # type: ignore[index]
        strays = [group for group in GROUPS if group in reached and group not in self.parts and reached[group].trained]
        if missed or strays:
            raise NothingToTrainError(
                f"LoRA attached no factors to {missed or 'nothing asked for'} and some to {strays or 'nothing else'} "
                f"in {type(model).__name__}; choose other `parts`"
            )


def attach_lora(model: PreTrainedModel, rank: int, scaling: float, parts: Sequence[str]) -> None:
    """Inject LoRA factors, fp32 over any base, into the named parts of a model, in place.

    Linear layers are named one by one and fused experts by parameter: peft's own target lists rewrite names per family
    and drop shared experts or reach the router. The shell has no `.config`, which keeps peft from doing so.

    Args:
        model: A model without LoRA.
        rank: Rank of every pair of factors.
        scaling: Factor on the low-rank update.
        parts: Groups of `group_parameters` to adapt.
    """
    # here, so that adapters without LoRA do not wait for peft
    from peft import LoraConfig
    from peft.functional import cast_adapter_dtype, inject_adapter_in_model

    linears, fused = lora_targets(model, parts)
    shell = nn.Module()
    shell.add_module("model", model)
    config = LoraConfig(
        r=rank,
        lora_alpha=scaling * rank,  # type: ignore[arg-type]
        lora_dropout=0.0,  # peft has no dropout on fused parameters
        target_modules=[f"model.{name}" for name in linears],
        target_parameters=[f"model.{name}" for name in fused],
    )
    inject_adapter_in_model(config, shell)
    cast_adapter_dtype(shell, "default")  # which a PeftModel does by itself: peft makes factors in the base's dtype
    object.__setattr__(model, "_esft_lora", {"rank": rank, "scaling": scaling, "parts": list(parts)})
    refuse_save_pretrained(model)


def lora_targets(model: PreTrainedModel, parts: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """What LoRA can adapt in the named parts of a bare model.

    Args:
        model: A model without LoRA.
        parts: Groups of `group_parameters`.

    Returns:
        Names of linear layers, and names of fused parameters that hold one matrix per expert, each with its group.
        Vectors, convolutions and layers of a family's own kind, whose forward peft cannot wrap, are no targets.
    """
    groups = group_parameters(model)
    linears = {
        name: groups[f"{name}.weight"]
        for name, module in model.named_modules()
        if type(module).forward in (nn.Linear.forward, WidenedLinear.forward) and groups.get(f"{name}.weight") in parts
    }
    fused = {
        name: groups[name]
        for name, parameter in model.named_parameters()
        if parameter.dim() == 3 and groups[name] in parts and groups[name] in ("routed experts", "shared experts")
    }
    return linears, fused


def lora_settings(model: nn.Module) -> dict[str, Any] | None:
    """What `attach_lora` was called with on this model; None where there is no LoRA."""
    return getattr(model, "_esft_lora", None)


def detach_lora(model: nn.Module) -> None:
    """Take every LoRA wrapper off again; the base parameters were never changed."""
    if lora_settings(model) is None:
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    del model._esft_lora
    allow_save_pretrained(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer) and not name.endswith("base_layer"):
            owner, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(owner), attribute, module.get_base_layer())
