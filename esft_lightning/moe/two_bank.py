"""Two-bank experts: train a few routed experts of a fused layer and leave the rest bit-identical.

The stock fused tensors are the *frozen bank* and are never touched. The *trained bank* is one extra leaf parameter per
projection, holding the selected experts only. A layer's rows are sorted so that each bank is one contiguous grouped
matrix product: gradients, optimizer state and saved activations are then proportional to what is selected.

Shapes: `T` tokens, `K` experts per token, `R` = T·K rows, `E` routed experts, `N` selected experts, `H` hidden,
`I` expert intermediate. Knows nothing of tasks or of how experts are chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from esft_lightning.errors import SettingError
from esft_lightning.moe.bank_gradients import check_gradients, expect_gradients
from esft_lightning.moe.discovery import find_moe_layers, projection_names
from esft_lightning.moe.placement import device_of, real_weights
from esft_lightning.moe.product_path import product_path
from esft_lightning.moe.quantised_bank import (
    by_expert_mm,
    ends_on_host,
    experts_dtype,
    frozen_weight,
    full_rows,
    is_quantised,
    own_parameter,
    quantised,
    room_for_rows,
    rounded_grouped_mm,
)
from esft_lightning.moe.rounded_blocks import rows_to_groups
from esft_lightning.moe.rounded_copies import rounded_copy
from esft_lightning.moe.rounded_weight import RoundedWeight
from esft_lightning.moe.widened_arithmetic import arithmetic_dtype

IMPLEMENTATION = "two_bank"
SYNC_FREE = "two_bank_sync_free"
_STOCK = "grouped_mm"
Bank = TypeVar("Bank", bound="ExpertBank")
WeightReader = Callable[[str], Tensor | RoundedWeight]
"""How a bank's weights are read: parameter name → `[…]` of its experts, or their rounded form."""


class ExpertBank(nn.Module):
    """The selected experts of one layer, whatever their parameters are.

    Attributes:
        expert_ids: The selected experts, ascending.
        assumed_trained_share: For reckoning without data (meta tensors hold none): the share of a batch's rows that is
            taken to hit the selected experts. None counts the rows, as every real forward does.
        trains: Whether it was opened for training, which is then an error without its gradients (`bank_gradients`).
    """

    assumed_trained_share: float | None = None
    trains: bool = False

    def __init__(self, experts: nn.Module, expert_ids: Sequence[int]) -> None:
        """Check and sort the ids.

        Args:
            experts: The fused experts module.
            expert_ids: Experts to train; stored in ascending order.

        Raises:
            ValueError: If no expert is named, one is named twice, or one does not exist.
        """
        super().__init__()
        num_experts = experts.get_parameter("down_proj").shape[0]
        self.expert_ids = sorted(expert_ids)
        if not self.expert_ids or len(set(self.expert_ids)) != len(self.expert_ids):
            raise SettingError(f"expected a non-empty list of distinct expert ids, got {list(expert_ids)}")
        if self.expert_ids[0] < 0 or self.expert_ids[-1] >= num_experts:
            raise SettingError(f"expert ids must lie in 0…{num_experts - 1}, got {self.expert_ids}")
        # Sort key of each expert: frozen experts keep their id, trained ones come after all of them.
        key = torch.arange(num_experts)
        key[self.expert_ids] = num_experts + torch.arange(len(self.expert_ids))
        self.register_buffer("sort_key", key.to(device_of(experts)), persistent=False)
        self.sort_key: Tensor

    def weight(self, name: str) -> Tensor:
        """The experts' parameter of that name, `[N, …]`, as the forward uses it."""
        raise NotImplementedError

    def frozen_rows(self, end: Tensor, rows: int) -> int:
        """How many of the sorted rows belong to the frozen bank.

        Args:
            end: Where the frozen bank's rows end, a scalar on the device: reading it is a synchronisation.
            rows: R.
        """
        if self.assumed_trained_share is None:
            return int(end)
        return rows - round(rows * self.assumed_trained_share)

    def extra_repr(self) -> str:
        """Name the experts in the module's printed form."""
        return f"expert_ids={self.expert_ids}"


class TrainedBank(ExpertBank):
    """The selected experts as leaf parameters that start from the base's rows.

    Each of the experts module's per-expert parameters has a twin here of the same name, `[N, …]` instead of `[E, …]`.
    """

    def __init__(
        self,
        experts: nn.Module,
        expert_ids: Sequence[int],
        dtype: torch.dtype | None = torch.float32,
        *,
        unset: bool = False,
    ) -> None:
        """Copy the selected rows.

        Args:
            experts: The fused experts module.
            expert_ids: Experts to train; stored in ascending order.
            dtype: Master precision of the trained rows; None keeps the base's.
            unset: Only make room for them, for a caller that writes every row.

        Raises:
            ValueError: If no expert is named, one is named twice, or one does not exist.
        """
        super().__init__(experts, expert_ids)
        with real_weights(experts):
            for name in projection_names(experts):
                rows = (room_for_rows if unset else full_rows)(experts, name, self.expert_ids)
                self.register_parameter(name, nn.Parameter(rows.to(dtype or rows.dtype)))

    def weight(self, name: str) -> Tensor:
        """The trained parameter itself."""
        return self.get_parameter(name)


def two_bank_experts_forward(
    experts: nn.Module, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor
) -> Tensor:
    """Routed experts with some of them trained; equal to the stock implementation as long as the banks agree.

    Args:
        experts: The fused experts module, with a `trained_bank` or without (then the stock grouped matmul runs, or all
            experts are the frozen bank where they are quantised).
        hidden_states: `[T, H]`.
        top_k_index: Chosen experts, `[T, K]`.
        top_k_weights: Their gates, `[T, K]`.

    Returns:
        `[T, H]`, in the dtype of `hidden_states`.
    """
    bank = _bank_of(experts)
    if bank is None and not _needs_two_banks(experts):
        return _stock_forward(experts, hidden_states, top_k_index, top_k_weights)
    top_k = top_k_index.shape[-1]
    num_experts = own_parameter(experts, "down_proj").shape[0]
    order_R, offsets = _sorted_rows(bank, top_k_index, num_experts)
    token_R = order_R // top_k
    ends_E = ends_on_host(experts, offsets[:num_experts])
    if bank is None:
        _, frozen = _bank_rows(experts, partial(frozen_weight, experts), hidden_states[token_R], offsets, ends_E)
        trained = frozen.new_empty(0, frozen.shape[1])
    else:
        check_gradients(bank, experts.training)
        # The one synchronisation: how many rows are frozen. Slicing by it keeps saved activations proportional.
        # On CUDA the host waits here, once a layer; `sync_free_experts_forward` does not, and keeps all rows instead.
        frozen_rows = ends_E[-1] if ends_E else bank.frozen_rows(offsets[num_experts - 1], token_R.shape[0])
        # Each bank gathers its own rows, so that what the trained bank saves for backward does not hold the others.
        rows, ends = hidden_states[token_R[:frozen_rows]], offsets[:num_experts]
        _, frozen = _bank_rows(experts, partial(frozen_weight, experts), rows, ends, ends_E)
        rows, ends = hidden_states[token_R[frozen_rows:]], offsets[num_experts:] - frozen_rows
        _, trained = _bank_rows(experts, bank.weight, rows, ends)
    gates_R = top_k_weights.reshape(-1)[order_R]
    return _Combine.apply(frozen, trained, gates_R, order_R, top_k).to(hidden_states.dtype)


class _Combine(torch.autograd.Function):
    """Weigh both banks' rows by their gates and sum those of each token.

    In plain operators, joining the banks copies every row, and backward scatters rows by adding; but the gradient of a
    row is its token's times its gate, which is one gather.
    """

    @staticmethod
    def forward(ctx: Any, frozen: Tensor, trained: Tensor, gates_R: Tensor, order_R: Tensor, top_k: int) -> Tensor:
        """`[T, H]` from the rows in sorted order, frozen ones first; sorted row r is of token `order_R[r] // top_k`."""
        dtype = torch.promote_types(frozen.dtype, gates_R.dtype)
        weighted_RH = frozen.new_empty(order_R.shape[0], frozen.shape[1], dtype=dtype)
        ctx.parts, ctx.top_k = (slice(None, frozen.shape[0]), slice(frozen.shape[0], None)), top_k
        for rows, part in zip((frozen, trained), ctx.parts, strict=True):
            torch.mul(rows, gates_R[part].unsqueeze(-1), out=weighted_RH[part])
        # What the rows are is asked for by the gates' gradient alone.
        ctx.save_for_backward(gates_R, order_R, *((frozen, trained) if ctx.needs_input_grad[2] else (None, None)))
        # Gather and sum: deterministic, where index_add with repeated indices is not on CUDA.
        return weighted_RH[_inverse(order_R)].view(-1, top_k, frozen.shape[1]).sum(dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the rows and of the gates, each only where it is asked for."""
        gates_R, order_R, *rows = ctx.saved_tensors
        d_rows: list[Tensor | None] = [None, None]
        d_gates: list[Tensor] = []
        for bank, part in enumerate(ctx.parts):
            if ctx.needs_input_grad[bank] or ctx.needs_input_grad[2]:
                d_part = d_out[order_R[part] // ctx.top_k]
                if ctx.needs_input_grad[2]:
                    d_gates.append((d_part * rows[bank]).sum(dim=-1))
                d_rows[bank] = d_part.mul_(gates_R[part].unsqueeze(-1))
        return *d_rows, torch.cat(d_gates) if d_gates else None, None, None


def sync_free_experts_forward(
    experts: nn.Module, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor
) -> Tensor:
    """The same function without reading a number back from the device: for CUDA graphs and `torch.compile`.

    Every shape is known beforehand, so each bank is given all R rows, its own first, and told where they end; it
    computes no others. The price is memory: what is saved for backward is that of all rows, trained or not. So
    `two_bank_experts_forward` is the default.

    Args:
        experts: The fused experts module, with a `trained_bank` or without.
        hidden_states: `[T, H]`.
        top_k_index: Chosen experts, `[T, K]`.
        top_k_weights: Their gates, `[T, K]`.

    Returns:
        `[T, H]`, in the dtype of `hidden_states`.
    """
    bank = _bank_of(experts)
    if bank is None:
        return two_bank_experts_forward(experts, hidden_states, top_k_index, top_k_weights)
    check_gradients(bank, experts.training)
    top_k = top_k_index.shape[-1]
    num_experts = bank.sort_key.shape[0]
    order_R, offsets = _sorted_rows(bank, top_k_index, num_experts)
    token_R, place_R = order_R // top_k, torch.arange(order_R.shape[0], device=order_R.device)
    frozen_rows = offsets[num_experts - 1]

    def run(weight_of: WeightReader, first: Tensor | int, ends: Tensor) -> Tensor:
        """A bank on the sorted rows from `first` on, turned to the front; the rows behind its own come out as zero."""
        own = (place_R < ends[-1]).unsqueeze(-1)
        rows = hidden_states[token_R[(place_R + first) % order_R.shape[0]]]
        # The kernels leave rows beyond the end as they find them, in forward and in the gradient: masked on both sides.
        return torch.where(own, _bank_rows(experts, weight_of, torch.where(own, rows, 0.0), ends)[1], 0.0)

    frozen = run(partial(frozen_weight, experts), 0, offsets[:num_experts])
    trained = run(bank.weight, frozen_rows, offsets[num_experts:] - frozen_rows)
    back_R = _inverse(order_R)
    out_RH = frozen[back_R] + trained[(back_R - frozen_rows) % order_R.shape[0]]
    out_RH = out_RH * top_k_weights.reshape(-1, 1)
    return out_RH.view(-1, top_k, hidden_states.shape[-1]).sum(dim=1).to(hidden_states.dtype)


def _needs_two_banks(experts: nn.Module) -> bool:
    """Whether the stock implementation does not do for a layer without a bank: it is quantised, or widened."""
    dtype, device = experts_dtype(experts), device_of(experts)
    return quantised(experts) is not None or arithmetic_dtype(dtype, device) != dtype


def _bank_of(experts: nn.Module) -> ExpertBank | None:
    """A layer's trained bank, if it has one."""
    bank = experts._modules.get("trained_bank")
    return bank if isinstance(bank, ExpertBank) else None


def _stock_forward(experts: nn.Module, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """Transformers' own experts: its grouped matmul where the kernel takes them, its loop elsewhere."""
    matrices = (parameter for parameter in experts.parameters(recurse=False) if parameter.dim() == 3)
    takes = partial(_kernel_takes, dtype=experts_dtype(experts))
    eager = type(experts).forward.__wrapped__  # type: ignore[attr-defined]
    stock = ALL_EXPERTS_FUNCTIONS[_STOCK] if all(map(takes, matrices)) else eager
    return stock(experts, hidden_states, top_k_index, top_k_weights)


def _sorted_rows(bank: ExpertBank | None, top_k_index: Tensor, num_experts: int) -> tuple[Tensor, Tensor]:
    """Rows sorted by expert, frozen ones first.

    Returns:
        The order `[R]`, and where each expert's rows end, `[E + N]`: frozen ones, then trained ones.
    """
    expert_R = top_k_index.reshape(-1)
    key_R, order_R = torch.sort(expert_R if bank is None else bank.sort_key[expert_R], stable=True)
    groups = torch.arange(num_experts + (0 if bank is None else len(bank.expert_ids)), device=key_R.device)
    return order_R, torch.searchsorted(key_R, groups, right=True, out_int32=True)


def _inverse(order_R: Tensor) -> Tensor:
    """Where each row went."""
    back_R = torch.empty_like(order_R)
    back_R[order_R] = torch.arange(order_R.shape[0], device=order_R.device)
    return back_R


def run_rows(experts: nn.Module, hidden_states: Tensor, top_k_index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Run the base's experts on every row and keep the rows apart, for measuring what each expert does.

    Args:
        experts: The fused experts module.
        hidden_states: `[T, H]`.
        top_k_index: Chosen experts, `[T, K]`.

    Returns:
        `order` `[R]`, which sorts the rows by expert (row r is token r // K), and in that order the intermediate
        activations `[R, I]` and the outputs `[R, H]`, gates not applied.
    """
    order_R, offsets = _sorted_rows(None, top_k_index, own_parameter(experts, "down_proj").shape[0])
    rows = hidden_states[order_R // top_k_index.shape[-1]]
    ends_E = ends_on_host(experts, offsets)
    intermediate, output = _bank_rows(experts, partial(frozen_weight, experts), rows, offsets, ends_E)
    return order_R, intermediate, output


def _bank_rows(
    experts: nn.Module,
    weight_of: WeightReader,
    rows: Tensor,
    offsets: Tensor,
    ends: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Run one bank's experts on its rows, sorted by expert; `offsets[i]` is where expert i's rows end.

    Where the host knows the offsets, `ends` holds them.

    The arithmetic is in the base's dtype, as in the stock kernel: fp32 masters over a bf16 base are cast here.

    Returns:
        Intermediate activations `[rows, I]` and outputs `[rows, H]`.
    """
    dtype = experts_dtype(experts)
    groups = rows_to_groups(offsets, rows.shape[0]) if experts.has_bias else None

    def linear(x: Tensor, name: str) -> Tensor:
        weight = weight_of(name)
        if not isinstance(weight, Tensor):
            y = rounded_grouped_mm(x.to(dtype), weight, offsets, bool(experts.is_transposed), ends)
        elif arithmetic_dtype(dtype, x.device) != dtype:
            y = by_expert_mm(x.to(dtype), weight, offsets, bool(experts.is_transposed))
        else:
            weight = rounded_copy(weight, dtype)
            y = _grouped_mm(x.to(dtype), weight if experts.is_transposed else weight.transpose(-2, -1), offsets)
        return y if groups is None else y + weight_of(f"{name}_bias").to(dtype)[groups]  # type: ignore[union-attr]

    if experts.has_gate:
        hidden = experts._apply_gate(linear(rows, "gate_up_proj"))  # type: ignore[operator]
    else:
        hidden = experts.act_fn(linear(rows, "up_proj"))  # type: ignore[operator]
    out = linear(hidden, "down_proj")
    normed = getattr(experts, "has_post_expert_norm", False)  # older Transformers know none
    return hidden, experts.post_expert_norm(out) if normed else out  # type: ignore[operator]


def _grouped_mm(x: Tensor, weight: Tensor, offsets: Tensor) -> Tensor:
    """`x[rows of group g] @ weight[g]`: the kernel where it can run, else Transformers' loop (fp64, odd sizes)."""
    if x.shape[0] == 0 and not torch.compiler.is_compiling():
        return x @ weight[0]  # no expert has a token: no kernel is asked for nothing, and gradients are zeros
    if _kernel_takes(weight, weight.dtype):
        return F.grouped_mm(x, weight, offs=offsets)
    return torch.ops.transformers.grouped_mm_fallback(x, weight, offsets)


def _kernel_takes(weight: Tensor, dtype: torch.dtype) -> bool:
    """Whether `F.grouped_mm` computes with this weight in a dtype, on its device."""
    if torch.compiler.is_compiling() and dtype != torch.bfloat16:  # what the compiler's shapes allow
        return False
    return product_path((weight.shape[1], weight.shape[2]), dtype, weight.device) in ("grouped kernel", "grouped loop")


ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, two_bank_experts_forward)
ALL_EXPERTS_FUNCTIONS.register(SYNC_FREE, sync_free_experts_forward)


def install_banks(
    model: Any,
    experts: Mapping[int, Sequence[int]],
    dtype: torch.dtype | None = torch.float32,
    *,
    unset: bool = False,
) -> dict[int, TrainedBank]:
    """Give the named layers a trained bank, started from the base's rows: `place_banks` with `TrainedBank`.

    Args:
        model: A Transformers MoE causal LM without banks.
        experts: Layer number to expert ids; layers with an empty list stay as they are.
        dtype: Master precision of the trained rows; None keeps the base's.
        unset: Leave the rows without values, for a caller that writes every one.

    Returns:
        The banks by layer number.

    Raises:
        ValueError: If a layer is not an MoE layer, an expert does not exist, or banks are already installed.
        NotImplementedError: If the experts are sharded by expert parallelism.
    """
    made = place_banks(model, experts, lambda module, ids: TrainedBank(module, ids, dtype, unset=unset))
    if not unset:
        expect_gradients(model)
    return made


def place_banks(
    model: Any, experts: Mapping[int, Sequence[int]], make: Callable[[nn.Module, Sequence[int]], Bank]
) -> dict[int, Bank]:
    """Give the named layers a bank.

    Args:
        model: A Transformers MoE causal LM without banks.
        experts: Layer number to expert ids; layers with an empty list stay as they are.
        make: Makes a layer's bank from its experts module and the ids.

    Returns:
        The banks by layer number.

    Raises:
        ValueError: If a layer is not an MoE layer, an expert does not exist, or banks are already installed.
        NotImplementedError: If the experts are sharded by expert parallelism.
    """
    layers = {entry.layer: entry for entry in find_moe_layers(model)}
    if any(_bank_of(entry.experts) is not None for entry in layers.values()):
        raise ValueError("the model already has trained experts; call remove_banks(model) first")
    if unknown := sorted(set(experts) - set(layers)):
        raise SettingError(f"layers {unknown} are not MoE layers of this model; its MoE layers are {sorted(layers)}")
    if any(getattr(entry.experts, "_is_expert_parallel", False) for entry in layers.values()):
        raise NotImplementedError("trained banks need whole layers; load the model without expert parallelism")
    made: dict[int, Bank] = {}
    for layer, ids in sorted(experts.items()):
        if ids:
            try:
                made[layer] = make(layers[layer].experts, ids)
            except ValueError as error:
                raise SettingError(f"layer {layer}: {error}") from None
    for layer, bank in made.items():
        layers[layer].experts.trained_bank = bank
    model.set_experts_implementation(IMPLEMENTATION)
    refuse_save_pretrained(model)
    return made


def banks(model: nn.Module) -> Iterator[tuple[int, ExpertBank]]:
    """The installed banks with their layer numbers, in layer order."""
    for entry in find_moe_layers(model):
        bank = _bank_of(entry.experts)
        if bank is not None:
            yield entry.layer, bank


def remove_banks(model: Any) -> None:
    """Drop every trained bank; the base, which was never written to, is again all there is."""
    installed = [entry for entry in find_moe_layers(model) if _bank_of(entry.experts) is not None]
    for entry in installed:
        del entry.experts.trained_bank
    if installed:
        set_bare_implementation(model)


def set_bare_implementation(model: Any) -> None:
    """Let a model without banks compute: by the stock grouped matmul, or as one frozen bank where that does not do."""
    own = any(_needs_two_banks(entry.experts) for entry in find_moe_layers(model))
    model.set_experts_implementation(IMPLEMENTATION if own else _STOCK)
    refuse_save_pretrained(model)
    allow_save_pretrained(model)  # where no expert is quantised


def refuse_save_pretrained(model: Any) -> None:
    """Let `model.save_pretrained` fail from here on: it would write the base's weights, and drop what is trained."""
    model.save_pretrained = _refuse_save_pretrained


def allow_save_pretrained(model: Any) -> None:
    """Give `model.save_pretrained` back, unless quantised experts stand against it too."""
    if is_quantised(model):
        return
    model.__dict__.pop("save_pretrained", None)


def _refuse_save_pretrained(*args: Any, **kwargs: Any) -> None:
    """Stand in for `save_pretrained` while an adapter is installed or experts are quantised."""
    raise RuntimeError(
        "save_pretrained would write the base as it is in memory: without what is trained, and with quantised experts "
        "rounded; save an adapter (esft_lightning.adapters.save_adapter) and merge it (python -m esft_lightning "
        "merge), or, to save the base, take the adapter off and load without quantize_experts"
    )
