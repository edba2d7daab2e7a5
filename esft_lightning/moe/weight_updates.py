"""How an optimizer's small updates reach what trains in a bf16 or fp16 model: fp32 masters, or compensated summation.

Where masters do not fit, Kahan summation keeps beside each bf16 weight what rounding took from it, and adds that to the
next update (Zamirai et al., arXiv 2010.06192). It is torch-optimi's, whose moments are in the weights' dtype, too.
Reports read this file, so torch is imported only where there are tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from esft_lightning.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

WeightUpdates = Literal["fp32_masters", "kahan_summation"]
_STEP_COUNT_BYTES = 4  # AdamW's own count of steps, a fp32 scalar per parameter


class WeightUpdatesError(UserError, ValueError):
    """A way of updating weights that is not installed, or has no effect on what trains."""


def described(updates: WeightUpdates) -> str:
    """How what trains is kept, and what a parameter of it takes; ends the sentence `What trains is kept …`."""
    if updates == "fp32_masters":
        return "in fp32, 16 bytes a parameter (master, gradient, AdamW's two moments)"
    return (
        "in the base's dtype with Kahan summation, 10 bytes a parameter (weight, gradient, AdamW's two moments, what "
        "rounding took), low-rank factors in fp32, 16 bytes"
    )


def check_updates(updates: WeightUpdates, trained: Iterable[Tensor]) -> None:
    """Refuse Kahan summation where it cannot be had, or would do nothing.

    Args:
        updates: How weights are updated.
        trained: What trains.

    Raises:
        WeightUpdatesError: Naming the way out.
    """
    if updates != "kahan_summation":
        return
    if find_spec("optimi") is None:
        raise WeightUpdatesError(
            "weight_updates=kahan_summation needs torch-optimi: pip install 'torch-optimi>=0.3.3,<0.4', or leave "
            "weight_updates at fp32_masters"
        )
    if not any(_is_low(weight) for weight in trained):
        raise WeightUpdatesError(
            "weight_updates=kahan_summation has no effect here: all that trains is float32 already; leave it at "
            "fp32_masters"
        )


def make_adamw(
    groups: Sequence[dict[str, Any]],
    updates: WeightUpdates,
    *,
    learning_rate: float,
    betas: tuple[float, float],
    fused: bool,
) -> Optimizer:
    """AdamW whose updates are not lost to rounding.

    Args:
        groups: Parameters with their `weight_decay`.
        updates: How weights are updated.
        learning_rate: The rate of all groups.
        betas: The moments' decay rates.
        fused: Whether PyTorch's fused step may be taken.
    """
    if updates == "fp32_masters":
        from torch.optim import AdamW

        return AdamW(groups, lr=learning_rate, betas=betas, fused=fused)
    from optimi import AdamW as KahanAdamW  # pyright: ignore[reportMissingImports] - an extra

    return KahanAdamW(groups, lr=learning_rate, betas=betas, eps=1e-8)  # Kahan summation wherever weights are bf16


def optimizer_bytes(trained: Iterable[Tensor], updates: WeightUpdates) -> int:
    """Bytes of the state of `make_adamw`'s optimizer.

    Args:
        trained: What trains, as it is kept.
        updates: How weights are updated.
    """
    kahan = updates == "kahan_summation"
    return sum(
        (3 if kahan and _is_low(weight) else 2) * weight.numel() * weight.element_size()
        + (0 if kahan else _STEP_COUNT_BYTES)
        for weight in trained
    )


def _is_low(weight: Tensor) -> bool:
    """Whether a weight is bf16 or fp16."""
    return weight.is_floating_point() and weight.element_size() == 2
