"""How many parameters a strategy trains, and how large its adapter is: counted on the model that the strategy made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from transformers import PreTrainedModel

from esft_lightning.adapters import adapter_tensors, split_projection
from esft_lightning.moe import find_moe_layers
from esft_lightning.strategies import GroupCount, training_table

_FACTOR_BYTES = 4  # LoRA's factors are fp32 over any base


@dataclass(frozen=True)
class ParameterBudget:
    """Parameters of a strategy on a model.

    Attributes:
        groups: Base and trained parameters by part of the model, as a run's own table counts them.
        adapter_bytes: Bytes of the tensors in the adapter that a run would leave.
    """

    groups: tuple[GroupCount, ...]
    adapter_bytes: int

    @property
    def total(self) -> int:
        """Parameters of the base."""
        return sum(row.total for row in self.groups)

    @property
    def trained(self) -> int:
        """Parameters that train."""
        return sum(row.trained for row in self.groups)

    @property
    def share(self) -> float:
        """Trained parameters as a share of the base's."""
        return self.trained / self.total


def count_parameters(model: PreTrainedModel, repeats: Callable[[str], int] = lambda name: 1) -> ParameterBudget:
    """Count what trains in a model that a strategy was applied to.

    Args:
        model: The model.
        repeats: How often the parameter of a name counts, where one layer stands for several.
    """
    tensors = adapter_tensors(model)
    stored = sum(tensor.numel() * tensor.element_size() * repeats(name) for name, tensor in tensors)
    return ParameterBudget(tuple(training_table(model, repeats)), stored)


def unfused_lora(model: PreTrainedModel, rank: int, fused: ParameterBudget) -> ParameterBudget:
    """The paper's LoRA arithmetic: a pair of factors for each matrix of each routed expert by itself.

    Transformers keeps the gate and the up projection of all experts in one tensor, to which peft attaches one pair of
    factors per expert; the paper's code had them apart, with a pair each.

    Args:
        model: The base, without LoRA.
        rank: r; a matrix `[out, in]` gets r · (out + in) parameters.
        fused: What LoRA of this rank trains here.

    Returns:
        The same counts, with the routed experts' and the adapter's replaced.
    """
    routed = 0
    for entry in find_moe_layers(model):
        for name, parameter in entry.experts.named_parameters(recurse=False):
            if parameter.dim() == 3:
                routed += entry.num_experts * sum(
                    rank * sum(matrix.shape) for _, matrix in split_projection(entry, name, parameter[0])
                )
    groups = _with_trained(fused.groups, "routed experts", routed)
    grown = sum(row.trained for row in groups) - fused.trained
    return replace(fused, groups=groups, adapter_bytes=fused.adapter_bytes + grown * _FACTOR_BYTES)


def _with_trained(groups: Sequence[GroupCount], group: str, trained: int) -> tuple[GroupCount, ...]:
    return tuple(row._replace(trained=trained) if row.group == group else row for row in groups)
