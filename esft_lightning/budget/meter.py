"""What a computation on meta tensors would allocate and multiply: live bytes, their peak, floating-point operations.

Every operator that PyTorch runs, forward and backward, passes through here. A storage counts from the operator that
makes it until the last tensor (or the autograd graph) lets go of it, views once. What a kernel takes and gives back
inside one operator is not seen.

Shapes: `R` rows, `G` groups, `B` batch, `A` attention heads, `S` queries, `Z` keys, `D` head size.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from esft_lightning.budget.outcomes import Outcomes

Kernels = Literal["cuda", "cpu"]
_aten: Any = torch.ops.aten


class Meter(TorchDispatchMode):
    """Counts bytes and floating-point operations of meta tensors while it is entered.

    Attributes:
        live: Bytes of the storages made inside that are still held.
        peak: Most live bytes since `restart`.
        flops: Floating-point operations since `restart`: matrix products and attention, a multiply-add as two.
    """

    def __init__(self, known: Iterable[Tensor], outcomes: Outcomes) -> None:
        """Start at zero.

        Args:
            known: Tensors that are there already and do not count, nor do their views: the weights.
            outcomes: What operators were seen to make; added to. Several meters may share it.
        """
        super().__init__()
        self.live = 0
        self.peak = 0
        self.flops = 0
        self._outcomes = outcomes
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._held: dict[int, weakref.ref] = {}

    def restart(self) -> None:
        """Forget peak and operations; what is live stays."""
        self.peak, self.flops = self.live, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result, flops = self._outcomes.run(func, args, kwargs or {}, _run)
        self.flops += flops
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.device.type == "meta":
                self._hold(leaf.untyped_storage())
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known or key in self._held:
            return

        def let_go(_: Any) -> None:
            del self._held[key]
            self.live -= size

        self._held[key] = weakref.ref(storage, let_go)
        self.live += size
        self.peak = max(self.peak, self.live)


class FusedAttention(TorchFunctionMode):
    """Sends attention on meta tensors to the kernel that a device would run; by itself PyTorch fuses nothing there.

    On CUDA the fused kernels keep queries, keys, values, output and one number per query for backward. On a CPU
    PyTorch's fused kernel needs queries and values of one head size; otherwise all weights `[B, A, S, Z]` are kept.
    """

    def __init__(self, kernels: Kernels) -> None:
        """Choose.

        Args:
            kernels: The device type whose kernels are taken.
        """
        super().__init__()
        self.kernels = kernels

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        return func(*args, **kwargs)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        bias = attn_mask
        if bias is not None and bias.dtype == torch.bool:
            bias = torch.zeros_like(bias, dtype=query.dtype)  # the kernels take numbers to add
        same_size = query.shape[-1] == value.shape[-1]
        if self.kernels == "cuda" and same_size and bias is None:
            return _aten._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, scale=scale)[0]
        if self.kernels == "cuda":
            return _aten._scaled_dot_product_efficient_attention(
                query, key, value, bias, True, dropout_p, is_causal, scale=scale
            )[0]
        if same_size and not dropout_p:
            return _aten._scaled_dot_product_flash_attention_for_cpu(
                query, key, value, 0.0, is_causal, attn_mask=bias, scale=scale
            )[0]
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )


@contextmanager
def no_autocast_on_meta() -> Iterator[None]:
    """Let `torch.autocast` be entered for the meta device, where it does nothing; PyTorch knows none there, peft asks.

    Training here enters no autocast: what is cast, the modules cast themselves.
    """
    real = torch.autocast

    def autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return nullcontext() if device_type == "meta" else real(device_type, *args, **kwargs)

    torch.autocast = autocast  # type: ignore[misc,assignment]
    try:
        yield
    finally:
        torch.autocast = real  # type: ignore[misc]


def _run(func: Any, args: Any, kwargs: Any) -> tuple[Any, int]:
    """An operator's result and its floating-point operations."""
    # The meta kernel refuses fp32, which the real ones take.
    result = _grouped_mm(*args, **kwargs) if func is _aten._grouped_mm.default else func(*args, **kwargs)
    return result, _flops(func, args, kwargs, result)


def _grouped_mm(
    left: Tensor, right: Tensor, offs: Tensor | None = None, bias: Tensor | None = None, out_dtype: Any = None
) -> Tensor:
    """An empty result: rows by group `[R, a] × [G, a, b]`, or the weights' gradient `[a, R] × [R, b]` → `[G, a, b]`."""
    shape = [left.shape[0], right.shape[-1]]
    if left.dim() == right.dim() == 2:
        assert offs is not None
        shape.insert(0, offs.shape[0])
    return left.new_empty(shape, dtype=out_dtype or left.dtype)


def _flops(func: Any, args: Any, kwargs: Any, result: Any) -> int:
    if func is _aten._grouped_mm.default:
        left, right = args[:2]
        return 2 * left.shape[0] * left.shape[1] * right.shape[-1]
    packet = func._overloadpacket
    if packet in _ATTENTION:
        first, forward = _ATTENTION[packet]
        query, key, value = args[first : first + 3]
        pairs = 2 * query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2]
        inner, outer = query.shape[-1], value.shape[-1]
        # Backward makes the weights again, and four gradients.
        return pairs * (inner + outer if forward else 3 * inner + 2 * outer)
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **kwargs, out_val=result))
    return 0


# Operator → where query, key and value stand among its arguments, and whether it is the forward.
_ATTENTION = {
    _aten._scaled_dot_product_flash_attention: (0, True),
    _aten._scaled_dot_product_flash_attention_backward: (1, False),
    _aten._scaled_dot_product_efficient_attention: (0, True),
    _aten._scaled_dot_product_efficient_attention_backward: (1, False),
    _aten._scaled_dot_product_flash_attention_for_cpu: (0, True),
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: (1, False),
}
