"""Two-bank experts: train a few routed experts of a fused layer and leave the rest bit-identical.

The stock fused tensors are the *frozen bank* and are never touched. The *trained bank* is one extra leaf parameter per
projection, holding the selected experts only. A layer's rows are sorted so that each bank is one contiguous grouped
matrix product: gradients, optimizer state and saved activations are then proportional to what is selected.

Shapes: `T` tokens, `K` experts per token, `R` = T·K rows, `E` routed experts, `N` selected experts, `H` hidden,
`I` expert intermediate. Knows nothing of tasks or of how experts are chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from esft_lightning.moe.discovery import find_moe_layers, projection_names

IMPLEMENTATION = "two_bank"
_STOCK = "grouped_mm"
_KERNEL_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_KERNEL_ALIGNMENT = 16  # bytes: what the grouped matmul kernel asks of row strides
Bank = TypeVar("Bank", bound="ExpertBank")


class ExpertBank(nn.Module):
    """The selected experts of one layer, whatever their parameters are."""

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
            raise ValueError(f"expected a non-empty list of distinct expert ids, got {list(expert_ids)}")
        if self.expert_ids[0] < 0 or self.expert_ids[-1] >= num_experts:
            raise ValueError(f"expert ids must lie in 0…{num_experts - 1}, got {self.expert_ids}")
        # Sort key of each expert: frozen experts keep their id, trained ones come after all of them.
        key = torch.arange(num_experts)
        key[self.expert_ids] = num_experts + torch.arange(len(self.expert_ids))
        self.register_buffer("sort_key", key.to(experts.get_parameter("down_proj").device), persistent=False)
        self.sort_key: Tensor

    def weight(self, name: str) -> Tensor:
        """The experts' parameter of that name, `[N, …]`, as the forward uses it."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Name the experts in the module's printed form."""
        return f"expert_ids={self.expert_ids}"


class TrainedBank(ExpertBank):
    """The selected experts as leaf parameters that start from the base's rows.

    Each of the experts module's per-expert parameters has a twin here of the same name, `[N, …]` instead of `[E, …]`.
    """

    def __init__(
        self, experts: nn.Module, expert_ids: Sequence[int], dtype: torch.dtype | None = torch.float32
    ) -> None:
        """Copy the selected rows.

        Args:
            experts: The fused experts module.
            expert_ids: Experts to train; stored in ascending order.
            dtype: Master precision of the trained rows; None keeps the base's.

        Raises:
            ValueError: If no expert is named, one is named twice, or one does not exist.
        """
        super().__init__(experts, expert_ids)
        for name in projection_names(experts):
            base = experts.get_parameter(name)
            rows = torch.tensor(self.expert_ids, device=base.device)
            self.register_parameter(name, nn.Parameter(base.detach()[rows].to(dtype or base.dtype)))

    def weight(self, name: str) -> Tensor:
        """The trained parameter itself."""
        return self.get_parameter(name)


def two_bank_experts_forward(
    experts: nn.Module, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor
) -> Tensor:
    """Routed experts with some of them trained; equal to the stock implementation as long as the banks agree.

    Args:
        experts: The fused experts module, with a `trained_bank` or without (then the stock grouped matmul runs).
        hidden_states: `[T, H]`.
        top_k_index: Chosen experts, `[T, K]`.
        top_k_weights: Their gates, `[T, K]`.

    Returns:
        `[T, H]`, in the dtype of `hidden_states`.
    """
    bank = experts._modules.get("trained_bank")
    if not isinstance(bank, ExpertBank):
        matrices = (parameter for parameter in experts.parameters(recurse=False) if parameter.dim() == 3)
        eager = type(experts).forward.__wrapped__  # type: ignore[attr-defined]
        stock = ALL_EXPERTS_FUNCTIONS[_STOCK] if all(map(_kernel_takes, matrices)) else eager
        return stock(experts, hidden_states, top_k_index, top_k_weights)
    top_k = top_k_index.shape[-1]
    num_experts, num_trained = bank.sort_key.shape[0], len(bank.expert_ids)

    key_R, order_R = torch.sort(bank.sort_key[top_k_index.reshape(-1)], stable=True)
    offsets = torch.searchsorted(
        key_R, torch.arange(num_experts + num_trained, device=key_R.device), right=True, out_int32=True
    )
    # The one synchronisation: how many rows are frozen. Slicing by it keeps saved activations proportional.
    frozen_rows = int(offsets[num_experts - 1])
    token_R = order_R // top_k
    # Each bank gathers its own rows, so that what the trained bank saves for backward does not hold the others alive.
    rows, ends = hidden_states[token_R[:frozen_rows]], offsets[:num_experts]
    _, frozen = _bank_rows(experts, experts.get_parameter, rows, ends)
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
        back_R = torch.empty_like(order_R)
        back_R[order_R] = torch.arange(order_R.shape[0], device=order_R.device)
        # Gather and sum: deterministic, where index_add with repeated indices is not on CUDA.
        return weighted_RH[back_R].view(-1, top_k, frozen.shape[1]).sum(dim=1)

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
    expert_R, order_R = torch.sort(top_k_index.reshape(-1), stable=True)
    every = torch.arange(experts.get_parameter("down_proj").shape[0], device=expert_R.device)
    offsets = torch.searchsorted(expert_R, every, right=True, out_int32=True)
    rows = hidden_states[order_R // top_k_index.shape[-1]]
    intermediate, output = _bank_rows(experts, experts.get_parameter, rows, offsets)
    return order_R, intermediate, output


def _bank_rows(
    experts: nn.Module, weight_of: Callable[[str], Tensor], rows: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor]:
    """Run one bank's experts on its rows, sorted by expert; `offsets[i]` is where expert i's rows end.

    The arithmetic is in the base's dtype, as in the stock kernel: fp32 masters over a bf16 base are cast here.

    Returns:
        Intermediate activations `[rows, I]` and outputs `[rows, H]`.
    """
    dtype = experts.get_parameter("down_proj").dtype
    groups = torch.repeat_interleave(offsets.diff(prepend=offsets.new_zeros(1))) if experts.has_bias else None

    def linear(x: Tensor, name: str) -> Tensor:
        weight = weight_of(name).to(dtype)
        y = _grouped_mm(x.to(dtype), weight if experts.is_transposed else weight.transpose(-2, -1), offsets)
        return y if groups is None else y + weight_of(f"{name}_bias").to(dtype)[groups]

    if experts.has_gate:
        hidden = experts._apply_gate(linear(rows, "gate_up_proj"))  # type: ignore[operator]
    else:
        hidden = experts.act_fn(linear(rows, "up_proj"))  # type: ignore[operator]
    out = linear(hidden, "down_proj")
    return hidden, experts.post_expert_norm(out) if experts.has_post_expert_norm else out  # type: ignore[operator]


def _grouped_mm(x: Tensor, weight: Tensor, offsets: Tensor) -> Tensor:
    """`x[rows of group g] @ weight[g]`: the kernel where it can run, else Transformers' loop (fp64, odd sizes)."""
    if not _kernel_takes(weight):
        return torch.ops.transformers.grouped_mm_fallback(x, weight, offsets)
    half_on_cpu = weight.device.type == "cpu" and weight.dtype != torch.float32
    if half_on_cpu and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return _Fp32BackwardMM.apply(x, weight, offsets)
    return F.grouped_mm(x, weight, offs=offsets)


class _Fp32BackwardMM(torch.autograd.Function):
    """The grouped matmul for a CPU without bf16 instructions: the same forward, gradients computed in fp32.

    There torch multiplies bf16 matrices in plain loops, and in the layout of an activation gradient at a fiftieth of
    the speed of fp32. Converting one expert at a time costs little, and gradients are rounded once.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, offsets: Tensor) -> Tensor:
        """`[rows, out]` from rows `[rows, in]`, sorted by group, and weights `[groups, in, out]`."""
        # The rows are needed only for the weights' gradient.
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight, offsets)
        return F.grouped_mm(x, weight, offs=offsets)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the rows and of the weights, each only where it is asked for."""
        x, weight, offsets = ctx.saved_tensors
        d_x = d_out.new_empty(d_out.shape[0], weight.shape[1]) if ctx.needs_input_grad[0] else None
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        start = 0
        for group, end in enumerate(offsets.tolist()):
            if start < end:
                d_rows = d_out[start:end].float()
                if d_x is not None:
                    d_x[start:end] = d_rows @ weight[group].float().t()
                if d_weight is not None:
                    torch.mm(x[start:end].float().t(), d_rows, out=d_weight[group])
            start = end
        return d_x, d_weight, None


def _kernel_takes(weight: Tensor) -> bool:
    """Whether the fused grouped matmul computes with this weight: its dtype, its row strides, its device."""
    aligned = all(size * weight.element_size() % _KERNEL_ALIGNMENT == 0 for size in weight.shape[1:])
    modern = weight.device.type != "cuda" or torch.cuda.get_device_capability(weight.device) >= (8, 0)
    return weight.dtype in _KERNEL_DTYPES and aligned and modern


ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, two_bank_experts_forward)


def install_banks(
    model: Any, experts: Mapping[int, Sequence[int]], dtype: torch.dtype | None = torch.float32
) -> dict[int, TrainedBank]:
    """Give the named layers a trained bank, started from the base's rows: `place_banks` with `TrainedBank`.

    Args:
        model: A Transformers MoE causal LM without banks.
        experts: Layer number to expert ids; layers with an empty list stay as they are.
        dtype: Master precision of the trained rows; None keeps the base's.

    Returns:
        The banks by layer number.

    Raises:
        ValueError: If a layer is not an MoE layer, an expert does not exist, or banks are already installed.
        NotImplementedError: If the experts are sharded by expert parallelism.
    """
    return place_banks(model, experts, lambda module, ids: TrainedBank(module, ids, dtype))


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
    if next(banks(model), None) is not None:
        raise ValueError("the model already has trained experts; call remove_banks(model) first")
    if unknown := sorted(set(experts) - set(layers)):
        raise ValueError(f"layers {unknown} are not MoE layers of this model; its MoE layers are {sorted(layers)}")
    if any(entry.experts._is_expert_parallel for entry in layers.values()):
        raise NotImplementedError("trained banks need whole layers; load the model without expert parallelism")
    made: dict[int, Bank] = {}
    for layer, ids in sorted(experts.items()):
        if ids:
            try:
                made[layer] = make(layers[layer].experts, ids)
            except ValueError as error:
                raise ValueError(f"layer {layer}: {error}") from None
    for layer, bank in made.items():
        layers[layer].experts.trained_bank = bank
    model.set_experts_implementation(IMPLEMENTATION)
    refuse_save_pretrained(model)
    return made


def banks(model: nn.Module) -> Iterator[tuple[int, ExpertBank]]:
    """The installed banks with their layer numbers, in layer order."""
    for entry in find_moe_layers(model):
        bank = entry.experts._modules.get("trained_bank")
        if isinstance(bank, ExpertBank):
            yield entry.layer, bank


def remove_banks(model: Any) -> None:
    """Drop every trained bank; the base, which was never written to, is again all there is."""
    installed = [layer for layer, _ in banks(model)]
    for entry in find_moe_layers(model):
        if entry.layer in installed:
            del entry.experts.trained_bank
    if installed:
        model.set_experts_implementation(_STOCK)
        allow_save_pretrained(model)


def refuse_save_pretrained(model: Any) -> None:
    """Let `model.save_pretrained` fail from here on: it would write the base's weights, and drop what is trained."""
    model.save_pretrained = _refuse_save_pretrained


def allow_save_pretrained(model: Any) -> None:
    """Give `model.save_pretrained` back."""
    model.__dict__.pop("save_pretrained", None)


def _refuse_save_pretrained(*args: Any, **kwargs: Any) -> None:
    """Stand in for `save_pretrained` while an adapter is installed."""
    raise RuntimeError(
        "save_pretrained would write the base's weights and drop the trained ones; save an adapter "
        "(esft_lightning.adapters.save_adapter) and merge it (python -m esft_lightning merge), or take the adapter off "
        "to save the base"
    )
