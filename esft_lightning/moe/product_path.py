"""By which way the products of routed experts are taken: one kernel, or loops that read where each expert's rows end.

`F.grouped_mm` has a kernel of its own for bf16 on CUDA devices of compute capability 9 and 10. For other dtypes and
devices it takes a loop of its own, which on CUDA reads the offsets on the host: right, slower, and a wait for the
device at each product. Which of them a run takes is decided
here, said when training starts, and kept in results.
"""

from __future__ import annotations

from typing import Literal

import torch

from esft_lightning.moe.widened_arithmetic import arithmetic_dtype

ProductPath = Literal["grouped kernel", "grouped loop", "plain loop", "widened experts"]
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_ALIGNMENT = 16  # bytes: what `F.grouped_mm` asks of row strides
_LEAST_CAPABILITY = (8, 0)  # of a CUDA device, for `F.grouped_mm` to run at all
_KERNEL_MAJORS = (9, 10)


def product_path(sizes: tuple[int, int], dtype: torch.dtype, device: torch.device) -> ProductPath:
    """How a grouped product of an experts' parameter is taken.

    Args:
        sizes: Of one expert's matrix.
        dtype: That is computed in.
        device: Where.
    """
    if arithmetic_dtype(dtype, device) != dtype:
        return "widened experts"
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    aligned = all(size * dtype.itemsize % _ALIGNMENT == 0 for size in sizes)
    if dtype not in _DTYPES or not aligned or (capability is not None and capability < _LEAST_CAPABILITY):
        return "plain loop"
    if capability is not None and dtype == torch.bfloat16 and capability[0] in _KERNEL_MAJORS:
        return "grouped kernel"
    return "grouped loop"
